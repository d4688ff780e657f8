"""Searching hyper-parameters: what is varied, its journal, and the trials."""
