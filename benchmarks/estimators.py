"""Time and accuracy of the estimators beside scikit-learn's network, on its digits: `python benchmarks/estimators.py`.

Each row is fitted `RUNS` times in turn with the others; times are medians, ratios those of the medians. Same layers,
epochs, batches and learning rate; one thread. Accuracy is of one split, held out, and for orientation only.
"""

from __future__ import annotations

import statistics
import time
import warnings

import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from opnorm.integrations.estimators import SpectralClassifier

RUNS, EPOCHS, BATCH = 5, 30, 64
HIDDEN = (64, 64)


def own(**options: object) -> SpectralClassifier:
    return SpectralClassifier(HIDDEN, max_epochs=EPOCHS, batch_size=BATCH, random_state=0, **options)


ROWS = {
    "sklearn MLPClassifier": MLPClassifier(
        HIDDEN, max_iter=EPOCHS, batch_size=BATCH, n_iter_no_change=EPOCHS, random_state=0
    ),
    "no ceiling": own(cap=None),
    "cap 2": own(),
    "cap 2, every step": own(every=1),
    "band 0.1 to 2": own(lo=0.1),
    "orthogonal, scale 1": own(lo=1.0, cap=1.0),
    "no ceiling, dropout 0.2": own(cap=None, dropout=0.2),
}


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X.astype("float32"), y, test_size=0.3, random_state=0, stratify=y)
    seconds: dict[str, list[float]] = {name: [] for name in ROWS}
    fitted = {}
    with threadpool_limits(1):
        for _ in range(RUNS):
            for name, estimator in ROWS.items():
                model = make_pipeline(StandardScaler(), estimator)
                began = time.perf_counter()
                fitted[name] = model.fit(X, y)
                seconds[name].append(time.perf_counter() - began)
    first = statistics.median(seconds[next(iter(ROWS))])
    print("| | s | ratio | test accuracy | largest norm, PROVED | Lipschitz bound |\n|---|---|---|---|---|---|")
    for name, times in seconds.items():
        last = fitted[name][-1]
        proved = hasattr(last, "norms_")
        norm = f"{max(n.upper for n in last.norms_):.4g}" if proved else ""
        bound = f"{last.lipschitz_bound_.value:.4g}" if proved else ""
        middle = statistics.median(times)
        score = fitted[name].score(X_test, y_test)
        print(f"| {name} | {middle:.2f} | {middle / first:.2f} | {score:.3f} | {norm} | {bound} |")


if __name__ == "__main__":
    main()
