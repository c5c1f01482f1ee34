"""Neural collaborative filtering: data, models, training, evaluation and the model bundle. Knows no cloud."""
