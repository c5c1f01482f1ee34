"""Copies the preparation's code from a Lambda layer to S3 for EMR Serverless."""
