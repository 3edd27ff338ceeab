"""What the benchmark's camera sees and its network says: ellipses before a wall that leans back."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH, HEIGHT = 1280, 720
FOCAL_PX = 910.0  # of a RealSense D435's colour camera at this size
SIDE = 160  # px of each target's box: 10 cm at 0.57 m
BOXES = tuple((x, y, x + SIDE, y + SIDE) for x, y in ((200, 300), (480, 120), (760, 320), (1000, 80)))  # px, half-open
FAR, NEAR = 0.7, 1.2  # 1/m, of the wall at the image's upper and lower edge
STEP = 0.5  # 1/m, from the wall to a target


def disparity(columns: int, rows: int) -> np.ndarray:
    """rows,columns float32 in 1/m, of the whole image."""
    wall = np.repeat(np.linspace(FAR, NEAR, rows, dtype=np.float32)[:, None], columns, axis=1)
    return wall + STEP * sum((logit > 0) for logit in mask_logits(columns, rows)).astype(np.float32)


def mask_logits(columns: int, rows: int) -> np.ndarray:
    """One map per box, T,rows,columns float32."""
    u = (np.arange(columns, dtype=np.float32) + 0.5) * (WIDTH / columns)
    v = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * (HEIGHT / rows)
    radius = SIDE / 2
    return np.stack([8 * (1 - np.hypot((u - x - radius) / radius, (v - y - radius) / radius)) for x, y, *_ in BOXES])


def picture() -> np.ndarray:
    """H,W,3 uint8 RGB: the disparity as grey with noise on it."""
    grey = disparity(WIDTH, HEIGHT) * 120 + np.random.default_rng(0).normal(0, 8, (HEIGHT, WIDTH))
    return cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def sensor_depth_mm() -> np.ndarray:
    """H,W uint16 as of a stereo camera: 1 % noise, and a fifth of it missing in patches."""
    rng = np.random.default_rng(1)
    noisy = 1000 / disparity(WIDTH, HEIGHT) * rng.normal(1, 0.01, (HEIGHT, WIDTH))
    patches = cv2.resize(rng.random((HEIGHT // 40, WIDTH // 40)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.where(patches < np.quantile(patches, 0.2), 0, noisy).astype(np.uint16)
