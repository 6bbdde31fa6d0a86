"""The network is ResNet-50, and takes its weights."""

import numpy as np
import pytest

from model import backend
from pipeline.errors import InputError, MissingError

backend.start()

import h5py  # noqa: E402
import keras  # noqa: E402
from keras.src.legacy.saving import legacy_h5_format  # noqa: E402

from model.network import backbones, pretrained  # noqa: E402
from model.settings import Settings  # noqa: E402

CHANNELS = ("red", "green", "blue", "yellow")


def network(shape, num_outputs, **settings) -> keras.Model:
    return backbones.network(shape, num_outputs, Settings(preset="test", **settings))


@pytest.fixture(scope="module")
def source() -> keras.Model:
    """ResNet-50 of `keras.applications` with weights of its own, moving statistics included."""
    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def four_channels() -> keras.Model:
    return network((64, 64, 4), 28)


def test_resnet50_has_the_published_number_of_parameters(four_channels):
    body = network((64, 64, 3), 1000)
    assert body.count_params() == 25_636_712
    without_top = body.count_params() - body.get_layer("logits").count_params()
    assert without_top == 23_587_712
    # A fourth channel adds a fourth kernel, and nothing else.
    assert four_channels.count_params() == without_top + 7 * 7 * 64 + 2049 * 28


def test_the_papers_variant_has_one_more_convolution_in_each_identity_block(four_channels):
    plain, variant = four_channels, network((64, 64, 4), 28, extra_conv=True)
    kernels = [sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) for model in (plain, variant)]
    assert kernels == [53, 53 + 12]
    more = sum(num * (9 * f * f + f + 4 * f) for num, f in ((2, 64), (3, 128), (5, 256), (2, 512)))
    assert variant.count_params() - plain.count_params() == more


def test_features_equal_those_of_keras_applications_with_the_same_weights(source):
    body = network((64, 64, 3), 28)
    assert pretrained.copy_weights(source, body, ("blue", "green", "red")) == 106
    features = keras.Model(body.input, body.get_layer("avg_pool").output)
    images = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    # What comes in normalised to 1 stands for what Caffe's weights saw on the scale of pixels.
    expected = np.asarray(source(images * backbones.BACKBONES["resnet"].input_std)).mean((1, 2))
    np.testing.assert_allclose(np.asarray(features(images)), expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_the_fourth_channel_starts_from_the_mean_and_activations_keep_their_size(source):
    kernel = source.get_layer("conv1_conv").get_weights()[0]
    adapted = pretrained.adapted_kernel(kernel, CHANNELS)
    scale = 57.6 * 3 / 4
    np.testing.assert_allclose(adapted[:, :, 0], kernel[:, :, 2] * scale, rtol=1e-6)  # theirs are blue, green, red
    np.testing.assert_allclose(adapted[:, :, 2], kernel[:, :, 0] * scale, rtol=1e-6)
    np.testing.assert_allclose(adapted[:, :, 3], kernel.mean(2) * scale, rtol=1e-6)
    np.testing.assert_allclose(adapted.sum(2), kernel.sum(2) * 57.6, rtol=1e-3, atol=1e-3)


def test_everything_but_the_first_kernel_is_copied_as_it_is(source, four_channels):
    body = four_channels
    pretrained.copy_weights(source, body, CHANNELS)
    theirs, ours = source.get_layer("conv5_block3_3_conv"), body.get_layer("conv5_block3_3_conv")
    assert all((a == b).all() for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra_conv": True}, r"conv2_block2_2b_bn, conv2_block2_2b_conv, .* and 21 more in only one of the two"),
        ({"blocks": (3, 4, 6, 2)}, r"conv5_block3_1_bn, conv5_block3_1_conv, .* in only one of the two networks$"),
        ({"width": 32}, r"conv1_conv is \[\(7, 7, 4, 64\), \(64,\)\], expected \[\(7, 7, 4, 32\), \(32,\)\]$"),
    ],
)
def test_any_other_mismatch_is_refused(source, options, message):
    body = network((64, 64, 4), 28, **options)
    with pytest.raises(InputError, match=rf"^pretrained weights do not fit: {message}"):
        pretrained.copy_weights(source, body, CHANNELS)


@pytest.mark.parametrize("name", ["own.weights.h5", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"])
def test_a_weights_file_of_keras_applications_is_read(source, tmp_path, name):
    path = tmp_path / name
    if name.endswith(".weights.h5"):
        source.save_weights(path)
    else:  # the form in which ImageNet's are published
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, source)
    read = pretrained.source_model(str(path))
    one, other = (model.get_layer("conv1_conv").get_weights()[0] for model in (source, read))
    assert (one == other).all()


def test_a_missing_or_foreign_weights_file_is_refused(tmp_path):
    with pytest.raises(MissingError, match=rf"^no weights file {tmp_path}/none.h5$"):
        pretrained.source_model(f"{tmp_path}/none.h5")
    path = tmp_path / "foreign.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)
    expected = rf"^weights file {path}: expected the weights of keras.applications.ResNet50, found"
    with pytest.raises(InputError, match=rf"{expected} 8 others$"):
        pretrained.source_model(str(path))
    path.write_text("text")
    with pytest.raises(InputError, match=rf"{expected} 0 others$"):
        pretrained.source_model(str(path))
    with h5py.File(path, "w") as file:  # as many weights as a DenseNet-121, or as this network, in no layer of theirs
        file["vars"] = np.zeros(7_037_504, np.float32)
    with pytest.raises(InputError, match=rf"{expected} those of DenseNet121$"):
        pretrained.source_model(str(path))
    with h5py.File(path, "w") as file:
        file["vars"] = np.zeros(23_587_712, np.float32)
    with pytest.raises(InputError, match=rf"{expected} (?!those|[0-9])"):
        pretrained.source_model(str(path))


def test_imagenet_weights_that_cannot_be_fetched_are_named_with_the_way_out(monkeypatch):
    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure on https://...: no route")

    monkeypatch.setattr(keras.applications, "ResNet50", unreachable)
    message = r"^ImageNet weights could not be downloaded \(URL fetch failure .*\): download the file and pass --weights FILE$"
    with pytest.raises(MissingError, match=message):
        pretrained.source_model("imagenet")


@pytest.mark.parametrize("name", ["densenet-121", "efficientnet-v2-b0", "convnext-tiny"])
def test_features_of_other_backbones_equal_those_of_keras_applications(name):
    known = backbones.BACKBONES[name]
    theirs = known.make(include_top=False, input_shape=(32, 32, 3))
    body = network((32, 32, 3), 28, backbone=name, prior=0.05)
    assert sum(np.prod(weight.shape) for weight in theirs.weights) == known.num_weights[0]
    assert pretrained.copy_weights(theirs, body, known.channels, name) > 50
    images = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32)
    features = keras.Model(body.input, body.get_layer("avg_pool").output)
    expected = np.asarray(theirs(images * known.input_std)).mean((1, 2))
    np.testing.assert_allclose(np.asarray(features(images)), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    momenta = {layer.momentum for layer in body.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta <= {0.9}


def test_outputs_start_from_the_prior():
    body = network((32, 32, 4), 28, blocks=(1,), width=4, prior=0.05)
    bias = body.get_layer("logits").get_weights()[1]
    np.testing.assert_allclose(1 / (1 + np.exp(-bias)), 0.05, rtol=1e-5)


def test_pooling_has_the_mean_and_the_maximum_of_each_feature_map_and_dropout_is_for_training_alone():
    body = network((32, 32, 4), 28, blocks=(1,), width=4, pooling="avg-max", dropout=0.5)
    inner = keras.Model(body.input, [body.get_layer(name).output for name in ("conv2_block1_out", "pool", "dropout")])
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 4)).astype(np.float32)
    maps, pooled, kept = (np.asarray(value) for value in inner(images, training=False))
    np.testing.assert_allclose(pooled, np.concatenate([maps.mean((1, 2)), maps.max((1, 2))], axis=1), rtol=1e-4)
    np.testing.assert_array_equal(kept, pooled)
    dropped = np.asarray(inner(images, training=True)[2])
    assert 0.2 < (dropped[pooled > 0] == 0).mean() < 0.8


def test_a_first_kernel_of_other_than_three_channels_is_refused():
    message = r"^pretrained weights do not fit: conv1_conv is \(7, 7, 4, 64\), expected 3 input channels$"
    with pytest.raises(InputError, match=message):
        pretrained.adapted_kernel(np.zeros((7, 7, 4, 64), np.float32), CHANNELS)
