"""Layer descriptions for tests, made without Keras."""

import numpy as np

from tf_metacompress.policy import KernelInfo, LayerInfo

CHANNEL_AXIS = {"Dense": (1,), "Conv2D": (3,), "DepthwiseConv2D": (2, 3)}


def layer(name, kind="Dense", shape=(4, 2), **fields):
    kernel = KernelInfo(name="kernel", shape=shape, channel_axis=CHANNEL_AXIS[kind])
    size = int(np.prod(shape))
    return LayerInfo(
        **{"num_params": size, "macs": size, **fields}, name=name, kind=kind, kernels=(kernel,)
    )


def batch_norm(name="bn", num_params=16):
    return LayerInfo(
        name=name, kind="BatchNormalization", num_params=num_params, compressible=False
    )


def random_kernels(infos, seed=0):
    generator = np.random.default_rng(seed)
    return {
        info.name: tuple(generator.normal(size=kernel.shape) for kernel in info.kernels)
        for info in infos
        if info.compressible
    }
