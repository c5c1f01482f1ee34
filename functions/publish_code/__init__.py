"""Puts the preparation's code, which a Lambda layer carries, where EMR Serverless can read it."""
