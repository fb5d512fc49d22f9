"""Thin routes: parse, one call, answer."""
