"""The dictionary of the page: words that stand in it, in a sentence or two each."""

from __future__ import annotations

TERMS = {
    "norm": "The spectral norm σ₁ is the largest singular value: the most by which the layer can stretch any input.",
    "bracket": "A lower and an upper bound on σ₁, rounded outward. ≈ marks an estimate, which bounds nothing.",
    "proved": "Holds for the stored numbers, every rounding error included. Nothing random.",
    "probable": "False with probability at most 10⁻¹² a weight over opnorm's own random start; rounding included.",
    "estimate": "No guarantee: unverified, sampled, fitted or of unknown rounding. Never to be read as a bound.",
    "frobenius": "The Frobenius norm: the root of the sum of all squared entries. At least σ₁, at most √rank times it.",
    "stable rank": "‖W‖_F²/σ₁²: how many directions carry the weight's energy. 1 for a single spike, at most the rank.",
    "profile": "Singular values in descending order, by rank. A straight line in these axes is a power law.",
    "density": "How many singular values lie near each size. Whiskers are one standard error where it was sampled.",
    "noise edge": "The largest singular value that pure noise of the layer's scale would show (Marchenko and Pastur).",
    "outliers": "Singular values above the noise edge: structure that was learned, not chance.",
    "tail": "A power law p(λ) ∝ λ^−α fitted to the largest eigenvalues λ = σ² of WᵀW.",
    "direction": "A singular vector: the input that excites the layer, or the output that it writes. Its sign is free.",
    "concentration": "Σw⁴ of the unit vector: 1 for a single coordinate, 1/n where it spreads evenly.",
    "alignment": "|cos| between what one layer writes most and what the next reads most: 0 unrelated, 1 the same.",
    "overlap": "Mean squared cosine between the top directions that one writes and the next reads.",
    "chance": "What random directions would give.",
    "gain": "‖W₂W₁‖: the most by which the pair can stretch an input.",
    "looseness": "‖W₂‖·‖W₁‖/‖W₂W₁‖: how far the product of norms overstates the pair. 1 is tight.",
    "qk": "‖W_QᵀW_K‖ of a head: how strongly it can prefer one position over another.",
    "ov": "‖W_O W_V‖ of a head: how much of what it attends to it can write.",
    "composition": "How much an earlier head's output enters a later head's query, key or value.",
    "change": "‖ΔW‖ = ‖W_tuned − W_base‖. No singular value has moved by more (Weyl's inequality).",
    "relative change": "‖ΔW‖/‖W_base‖.",
    "intruders": "Top directions of the tuned layer that are far from every direction of the base layer.",
    "derived": "An operator made of several tensors, such as a circuit or a folded normalization. It adds no bytes.",
    "coverage": "Every byte of the inputs is counted once: nothing is left out silently.",
    "ceiling": "The norm that no weight should exceed, given when the page was made.",
}
