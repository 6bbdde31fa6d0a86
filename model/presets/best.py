"""Current best practice at the paper's image size. A similar network reached macro F1 0.47 on Kaggle.

    python -m model.train --preset best            40 epochs of about 521 steps
    python -m model.train --preset best --smoke    about a minute on two cores

Training starts from ImageNet weights, which Keras downloads. Without a connection, pass the same file with
`--weights FILE` (`resnet50_weights_tf_dim_ordering_tf_kernels.h5`, with or without `_notop`).

Each choice and its source; "Kaggle" is the competition of 2018, whose winners Ouyang et al. 2019 describe.
`docs/best.md` shows the effect of each choice in a small form.

- ResNet-50 from ImageNet: on Kaggle it scored higher than DenseNet-121 at 256 pixels (0.473 and 0.461, one author's
  runs), lower at 512 (0.497 and 0.509).
- Flips and rotations by 90 degrees gained 0.05 on Kaggle. Free rotation: used by the winners of 2018 and 2021.
- Intensity per channel: 0.8 to 1.2, as used in eleventh place because Kaggle's images differ from external ones.
- Repeat factors: Gupta et al. 2019 (LVIS).
- AdamW: Loshchilov and Hutter 2019; warm-up: Goyal et al. 2017; clipped gradients: Pascanu et al. 2013.
- Test-time flips gained about 0.01 on Kaggle.
- Off, because they do not help in the small form: asymmetric loss (Ridnik et al. 2021), focal loss (Lin et al. 2017),
  average and maximum pooling together and dropout 0.5 (both used by the winner), mixup (Zhang et al. 2018), shear,
  random crops, random scale, averaged weights (Polyak and Juditsky 1992), outputs that start at the share of positives
  (Lin et al. 2017).
"""

from model.settings import Settings
from pipeline.schema import HPA_KAGGLE_2018

SETTINGS = Settings(
    preset="best",
    channels=HPA_KAGGLE_2018.channel_names,
    weights="imagenet",
    epochs=40,
    batch_size=64,
    optimizer="adamw",
    learning_rate=5e-4,
    weight_decay=0.02,
    clip_norm=1.0,
    schedule="cosine",
    warmup_epochs=1.0,
    loss="cross-entropy",
    oversample=0.1,
    augment="d4",
    rotation=180.0,
    brightness=0.2,
    test_time="flips",
)
