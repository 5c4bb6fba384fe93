"""Two checkpoints side by side: what changed, by how much, and in which directions.

The way of the data: names of both → pairs (`matching`, `adapters`, `pairs`) → what either holds (`contents`) → the
operators of both and of ΔW (`difference`) → brackets (`change`) and what follows from them (`figures`), directions
(`sight`, `intruders`, `spread`) → a `Change` a pair → `Comparison`.
"""

from opnorm.spectrum.comparison.comparing import compare

__all__ = ["compare"]
