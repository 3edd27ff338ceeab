"""For tools that look for a setup.py; everything is said in pyproject.toml, and colcon reads package.xml."""

from setuptools import setup

setup()
