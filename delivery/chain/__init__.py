"""The way of a commit to production: image, release and smoke test, each a make target that every pipeline calls.

`template.yaml` is a stack of its own, deployed once in an account: repository, builds, and the roles of pipelines.
"""
