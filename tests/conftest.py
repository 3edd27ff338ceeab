"""Settings of the whole suite."""

from hypothesis import settings

settings.register_profile("slow cores", deadline=None)  # a shared core can stall any one example
settings.load_profile("slow cores")
