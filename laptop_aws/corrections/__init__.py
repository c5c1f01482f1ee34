"""Where ministack differs from AWS, and what makes it agree.

One module per area. Each has ``apply()``, called once before the host serves, and each correction says in its
docstring what AWS does, what ministack does, and how the difference is removed. ``tests/conformance`` states every
point against the running host, so that another ministack version that changes a patched function fails loudly.
"""
