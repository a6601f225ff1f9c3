"""Package metadata of tf_metacompress, all of it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

setup(
    name="tf_metacompress",
    version=re.search(
        r'^__version__ = "(.+)"$',
        (HERE / "tf_metacompress" / "__init__.py").read_text(encoding="utf-8"),
        re.MULTILINE,
    ).group(1),
    description="Keras 3 plugin that learns how to compress a model for LiteRT, by MAML.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    keywords="tensorflow keras litert tflite pruning quantization meta-learning maml",
    packages=find_packages(include=["tf_metacompress", "tf_metacompress.*"]),
    include_package_data=True,
    package_data={
        "tf_metacompress.meta": ["data/phi.npz", "data/card.json"],
        "tf_metacompress.deploy": ["templates/*.txt"],
    },
    python_requires=">=3.11",
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tf-keras>=2.21,<2.22",
        "tensorflow-model-optimization>=0.8.1,<0.9",
        "ai-edge-litert>=2.3,<2.4",
        "ai-edge-quantizer>=0.10,<0.11",
        "absl-py>=1.4,<2",
        "numpy>=2.4,<2.5",
        "scipy>=1.17,<2",
        "scikit-learn>=1.9,<2",
        "joblib>=1.6,<2",
        "matplotlib>=3.11,<4",
        "tqdm>=4.70,<5",
        "pillow>=10,<14",
    ],
    extras_require={
        "dev": [
            "pytest>=9.2,<10",
            "pytest-cov>=7.1,<8",
            "pytest-timeout>=2.4,<3",
            "pytest-xdist>=3.8,<4",
            "hypothesis>=6.170,<7",
            "ruff>=0.17,<0.18",
            "tree-sitter>=0.25,<0.27",
            "tree-sitter-kotlin>=1.1,<1.2",
        ],
        "ray": ["ray>=2.60,<3"],
        "benchmarks": ["torch>=2.15,<3", "optuna>=5,<6"],
        # Only pre-releases exist; naming one lets pip choose among them.
        "micro": ["tflite-micro>=0.dev20261023182759,<1"],
    },
    entry_points={"console_scripts": ["tf-metacompress = tf_metacompress.cli:main"]},
)
