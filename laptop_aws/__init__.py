"""The embedded AWS: one process on loopback that answers as AWS does.

``python -m laptop_aws`` runs it in the foreground. It hosts ministack, corrects the points where ministack
differs from AWS (``corrections/``), and adds the services that ministack lacks (``registry`` says how a service
joins).
"""
