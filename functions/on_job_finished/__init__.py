"""Answers the task token of a job when the job has ended."""
