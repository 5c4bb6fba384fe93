"""Train the model behind `opnorm demo`: digits (8×8 pixels) → 128 → 64 → 10, and save it as safetensors.

Needs scikit-learn and safetensors: `pip install scikit-learn safetensors`; about ten seconds.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

TARGET = Path(__file__).parent.parent / "src" / "opnorm" / "demo" / "digits.safetensors"


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(images / 16, labels, random_state=0, test_size=0.25)
    model = MLPClassifier((128, 64), random_state=0, max_iter=400).fit(train, train_labels)
    accuracy = model.score(test, test_labels)
    tensors = {}
    for number, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        tensors[f"layers.{number}.weight"] = np.ascontiguousarray(weight.T, dtype=np.float32)
        tensors[f"layers.{number}.bias"] = bias.astype(np.float32)
    save_file(tensors, TARGET, metadata={"task": "digits 8x8", "test_accuracy": f"{accuracy:.4f}"})
    print(f"{TARGET.name}: test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
