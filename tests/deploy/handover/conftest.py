"""The page of a bundle is tested without TensorFlow Lite Micro, which takes 0.4 s a bundle."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_micro():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_metacompress.deploy.micro.micro_version", lambda: None)
        yield
