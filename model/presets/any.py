"""A small network for any dataset: all channels at the dataset's own size.

    python -m model.train --preset any --data-dir DIR            30 epochs, about 12 minutes for 2,500 nuclei
    python -m model.train --preset any --data-dir DIR --smoke    less than a minute on two cores

ResNet-26 of half the width, with AdamW, warm-up and a cosine schedule. On two cores, it trains on
100 to 150 one-channel images of 64 x 64 a second.
"""

from model.settings import ALL, FROM_DATASET, Settings

SETTINGS = Settings(
    preset="any",
    size=FROM_DATASET,
    channels=ALL,
    blocks=(2, 2, 2, 2),
    width=32,
    augment="d4",
    epochs=30,
    batch_size=32,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.02,
    schedule="cosine",
    warmup_epochs=1.0,
)
