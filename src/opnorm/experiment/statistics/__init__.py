"""How a verdict is reached: from the differences arm − baseline of n seeds, one measure at a time.

The rules, in force whatever the measure. δ is the true mean difference, m the margin of practical equivalence.

1. A side, such as "δ ≤ m", is rejected only where three tests agree; its p-value is the largest of theirs.
   The sign-flip permutation test of the mean (`subsets`): exact for any distribution symmetric about δ, however heavy
   its tails. Student's t with the variance s²·(1/n + overlap) (`student`): Nadeau and Bengio's correction, exact for
   normal differences of redrawn splits that correlate by the test part's share of all examples; overlap = n_test over
   all other examples, and 0 for one fixed split. The same t after Hall's transformation (`student`), which allows for
   the sample's skewness.
2. p_differs = 2·min(p(δ ≤ m), p(δ ≥ −m)), of "|δ| ≤ m"; p_same = 2·max(p(δ ≤ −m), p(δ ≥ m)), of "|δ| ≥ m": two
   one-sided tests (Schuirmann), doubled. Both at most 1, so each side is held at half the level.
3. The interval at confidence 1 − α is the set of all δ that no side rejects at α/2. One interval therefore shows both
   decisions: beyond the margin ⇔ p_differs ≤ α, within it ⇔ p_same ≤ α.
4. Within a claim, Holm's procedure runs over the p_differs of all comparisons and, separately, over their p_same
   (`holm`), weighted: the measure that leads has half of the level to itself (`weights`). Rejected difference and mean
   beyond the margin: helps, or hurts; rejected otherness: practically the same; neither: not enough evidence. Both
   cannot be.
5. Beside the verdict and without influence on it: BCa bootstrap (scipy), and the probabilities of better, same and
   worse under the correlated Bayesian t posterior of Corani and Benavoli (`posterior`).
6. n seeds give no p below 2/2ⁿ: `plan` refuses a design whose corrected level lies below that.

What holds: with symmetric differences on a fixed split, or normal ones on redrawn splits, the chance of any false
"helps" or "hurts" within a claim is at most the level, and so is the chance of any false "practically the same". With
skewed ones it is measured, not proved (`benchmarks/trial_statistics.py`). What no test of few seeds sees is an event in
few seeds: one that strikes a seed with chance q stays unseen in n seeds with chance (1 − q)ⁿ (Bahadur and Savage 1956:
there is no test of a mean that is valid for every distribution).

Cost: 2ⁿ subset means up to 16 seeds, 65,535 drawn ones beyond: milliseconds a comparison. Everything is
deterministic: draws come from generators with fixed seeds. Needs numpy and scipy.
"""

from opnorm.experiment.statistics.holm import decide
from opnorm.experiment.statistics.paired import Paired, compare, interval_of
from opnorm.experiment.statistics.plan import least_p, least_seeds, require_decidable
from opnorm.experiment.statistics.power import seeds_needed
from opnorm.experiment.statistics.weights import weights_of

__all__ = [
    "Paired",
    "compare",
    "decide",
    "interval_of",
    "least_p",
    "least_seeds",
    "require_decidable",
    "seeds_needed",
    "weights_of",
]
