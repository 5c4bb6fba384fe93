"""From a cell to a record: settings to try, trainings from one start, the best on validation data measured once.

The way: `cell.run_cell` → `settings` (what is tried) → `attempt` for each (start, `loop`, finish, validation score) →
the best → `claims.measures`. `seeds` keys every draw; `matching` is the control that is searched for instead of tuned.
"""
