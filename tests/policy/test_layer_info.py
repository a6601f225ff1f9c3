"""Properties of layer descriptions."""

from tf_metacompress.policy import KernelInfo, LayerInfo


def test_the_largest_kernel_gives_the_shape_and_all_give_the_count():
    depthwise = KernelInfo(name="depthwise_kernel", shape=(3, 3, 8, 1), channel_axis=(2, 3))
    pointwise = KernelInfo(name="pointwise_kernel", shape=(1, 1, 8, 16), channel_axis=(3,))
    info = LayerInfo(name="sep", kind="SeparableConv2D", kernels=(depthwise, pointwise))
    assert info.weight_shape == (1, 1, 8, 16)
    assert info.num_weights == 72 + 128


def test_a_layer_without_kernels_has_no_weights():
    info = LayerInfo(name="bn", kind="BatchNormalization", num_params=32, compressible=False)
    assert info.weight_shape == ()
    assert info.num_weights == 0
