"""Property tests here run whole kernels, on machines that others use too: they are not timed."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")
