"""Requirement and evidence in, choice out."""
