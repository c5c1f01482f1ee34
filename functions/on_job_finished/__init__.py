"""Answers the task that waits for a job, when AWS says that the job changed state."""
