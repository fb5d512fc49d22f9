"""Distiller's schedule language: reading, policies, masks, and the scheduler that runs them."""
