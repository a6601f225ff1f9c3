"""The bridge to tfmot, in a process of its own, as importing tfmot leaves traces."""

import pytest

from tests.fresh_python import run_script


@pytest.mark.slow
def test_a_keras_2_model_is_pruned_and_quantised_by_tfmot_as_a_policy_says():
    assert run_script("-m", "tests.legacy_script").endswith("done\n")


@pytest.mark.slow
def test_the_package_does_not_import_tfmot_by_itself():
    run_script(
        "-c",
        "import sys, keras, tf_metacompress as tmc; tmc.compress; import tf_metacompress.legacy; "
        "assert 'tensorflow_model_optimization' not in sys.modules",
    )
