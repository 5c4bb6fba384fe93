"""What each number of a spectrum is: definition, unit, cost and source; the keys of `Spectrum.quantities`.

Costs are beyond the singular values themselves, which `opnorm.spectrum.singular` finds once for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from opnorm.spectrum.document import Metric

_FROM_VALUES = "a sum over the singular values; by quadrature where they are too many to compute"

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "stable_rank": Metric(
            "Stable rank",
            "‖A‖_F²/σ₁²: how many directions of the largest size would hold the same energy",
            "directions",
            "one pass and the norm's own bracket",
            "M. Rudelson and R. Vershynin, J. ACM 54 (2007) 21",
        ),
        "effective_rank": Metric(
            "Effective rank",
            "exp(−Σ pᵢ ln pᵢ), pᵢ = σᵢ/Σσ: the number of equal singular values of the same entropy",
            "directions",
            _FROM_VALUES,
            "O. Roy and M. Vetterli, EUSIPCO 2007",
        ),
        "participation_ratio": Metric(
            "Participation ratio",
            "(Σσ²)²/Σσ⁴: the number of equal energies of the same second moment",
            "directions",
            _FROM_VALUES,
            "R. J. Bell and P. Dean, Discuss. Faraday Soc. 50 (1970) 55",
        ),
        "numerical_rank": Metric(
            "Numerical rank",
            "how many σᵢ exceed max(m, n)·ε·σ₁ (ε of the weights' format) or, if more, what the method resolves",
            "directions",
            "a comparison",
            "G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., section 5.4.1",
        ),
        "nuclear": Metric("Nuclear norm", "Σσᵢ", "as the weights", _FROM_VALUES, "the Schatten norm of order 1"),
        "schatten_4": Metric(
            "Schatten-4 norm",
            "(Σσᵢ⁴)^¼ = ‖AAᵀ‖_F^½: at most m^¼ above the spectral norm",
            "as the weights",
            _FROM_VALUES,
            "R. Bhatia, Matrix Analysis, 1997, chapter IV",
        ),
        "frobenius": Metric("Frobenius norm", "(Σσᵢ²)^½, from the entries", "as the weights", "one pass", "–"),
        "condition": Metric(
            "Condition number",
            "σ₁/σ_min over the short side; absent where σ_min is 0 to within rounding",
            "ratio",
            "a division; a singular value decomposition where squaring hides σ_min",
            "G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., section 2.6.2",
        ),
        "smallest": Metric(
            "Smallest singular value",
            "σ_min over the short side: what the layer shrinks most",
            "as the weights",
            "a singular value decomposition where squaring hides it",
            "–",
        ),
        "median": Metric("Median singular value", "half of the values lie below it", "as the weights", "a sort", "–"),
        "log_det": Metric(
            "Log-determinant",
            "Σ ln σᵢ = ½ ln det AAᵀ over the short side: the logarithm of how it changes volume",
            "nats",
            "a sum of logarithms",
            "–",
        ),
        "outliers": Metric(
            "Outliers",
            "how many σᵢ lie above the Marchenko–Pastur edge s(√m + √n) of the layer's own noise",
            "directions",
            "brackets of all values, or two symmetric indefinite factorizations",
            "M. Gavish and D. L. Donoho, IEEE Trans. Inform. Theory 60 (2014) 5040, for the scale s",
        ),
        "alpha": Metric(
            "Tail exponent",
            "α of p(λ) ∝ λ^−α fitted to the largest λ = σ²",
            "exponent",
            "k²/2 exponentials for k values",
            "A. Clauset, C. R. Shalizi and M. E. J. Newman, SIAM Review 51 (2009) 661; C. H. Martin and M. W. Mahoney, "
            "JMLR 22 (2021) 165, of layers",
        ),
        "alpha_weighted": Metric(
            "Weighted tail exponent",
            "α·log₁₀ σ₁²: the tail's exponent times the order of magnitude of the largest eigenvalue",
            "decades",
            "a product",
            "C. H. Martin, T. Peng and M. W. Mahoney, Nature Communications 12 (2021) 4122",
        ),
        "from_initial": Metric(
            "Distance from initialization",
            "‖A − A₀‖_F, where A₀ is given",
            "as the weights",
            "one pass over both",
            "V. Nagarajan and J. Z. Kolter, Generalization in Deep Networks: The Role of Distance from Initialization, "
            "2019",
        ),
    }
)
"""Key of a quantity → what it is."""
