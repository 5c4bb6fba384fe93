"""scikit-learn estimators whose layers are held in a band while they are trained, and proved when they are done.

    SpectralClassifier(cap=2.0).fit(X, y).norms_          # a PROVED bracket of σ₁ for each layer

The way: `base` validates what it is given, `network` makes the layers from the seed, `training` moves them (AdamW, a
gate after each step) and finishes them (the last projection, the proof), `classifier` and `regressor` say what the
outputs mean. What is kept are NumPy arrays, a certificate, and numbers.
Guarantee: `certificate_`, PROVED for the stored weights, and `lipschitz_bound_`, for the function they define in exact
arithmetic. What is learned is as good as any network's: measured, never promised.
"""

from opnorm.errors import MissingExtra

try:
    from opnorm.integrations.estimators.classifier import SpectralClassifier
    from opnorm.integrations.estimators.regressor import SpectralRegressor
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("sklearn", "torch"):
        raise
    raise MissingExtra("trial", "SpectralClassifier or SpectralRegressor") from error

__all__ = ["SpectralClassifier", "SpectralRegressor"]
