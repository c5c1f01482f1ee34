"""The parts of `python -m training.launch`: where a run is kept, its process, and what is shown of it."""
