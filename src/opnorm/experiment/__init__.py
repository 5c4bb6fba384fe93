"""The trial: "can spectral norm improve my model?", answered by a fair experiment.

The way of the data: a `Subject` (data and model, `subject`) and a `Design` (`document`) give cells, one for each arm,
seed and condition → `run` spreads them over workers; each cell is tuned on validation data and trained (`training`)
under its arm (`arms`), the chosen model is measured once on its test data (`claims`) → one `Record` a cell, a line of
the journal → `claims` pairs the records of each seed → `statistics` judges the pairs → `TrialReport`.
"""
