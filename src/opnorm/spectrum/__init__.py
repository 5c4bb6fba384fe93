"""What else a layer's singular values and vectors say: magnitude, directions, interaction, and two models side by side.

The way of the data: an entry's arrays → `magnitude.spectrum_of` (singular values and what follows from them) and
`directions` (its top singular vectors in the user's own terms) → beside the row. All rows' top vectors →
`interaction` (how layers feed one another). Two checkpoints → `comparison`. Everything ends as the frozen data of
`document`, `interaction.document` and `comparison.document`, which reports render and gates judge.
"""
