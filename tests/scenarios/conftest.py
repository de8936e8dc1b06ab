"""Scenarios over real sockets. CONNLEAK_SUBJECT=go runs those that speak of the pool
against Go's own ReverseProxy, which tells whether the test itself is right."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from rig import subject as subjects  # noqa: E402
from rig.origin import Origin  # noqa: E402


@pytest.fixture
def start():
    """start(**pool): a subject with a zero-value Transport but for those settings; stopped at the test's end."""
    started = []

    def start_subject(which=None, zero_value=True, **pool):
        which = which or subjects.chosen()
        if which == "go" and subjects.go_available():
            pytest.skip(subjects.go_available())
        settings = dict(subjects.ZERO_VALUE, **pool) if zero_value else pool
        subject = subjects.SUBJECTS[which](**settings)
        started.append(subject)
        return subject

    start_subject.started = started
    yield start_subject
    for subject in started:
        subject.stop()


@pytest.fixture
def daemon(start):
    """daemon(**pool, settings={...}): connleakd on its own defaults but for those."""
    def start_daemon(**kwargs):
        return start("connleakd", zero_value=False, **kwargs)
    return start_daemon


@pytest.fixture
def serve():
    """serve(script, ...): an origin, stopped at the test's end."""
    origins = []

    def start_origin(script, **kwargs):
        origin = Origin(script, **kwargs)
        origins.append(origin)
        return origin

    start_origin.origins = origins
    yield start_origin
    for origin in origins:
        origin.stop()
