"""The parts of `python -m training.launch`: the folder of a run, its process, and its output in the terminal."""
