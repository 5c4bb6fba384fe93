"""Convolutions: the operator, its products, and what is proved of its norm.

`geometry` → `operator` (products: `correlate`, `padding`; rounding: `kernel_size`). Bounds, by `by_symbol`: any input
size (`any_size`), one input size (`at_size`, by `twisted` circulants, `finite` for the lower end, `by_groups`), on the
`symbol`, whose `peak` is found first; windows that do not overlap are the `flattened` kernel. `opnorm explain symbol`.
"""
