"""Images that hold no contacts give an error that says so, never a size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrology_core.data import Image
from metrology_core.errors import DataError
from wafer import read_image
from wafer.contacts import measure_contacts
from wafer.drawn import refuse_drawn_rows
from wafer.simulate.contacts import simulate_contacts


def _image(pixels: np.ndarray) -> Image:
    return Image(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), "nm", (0.9, 0.9))


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_noise_alone_is_no_contact(smoothing: float) -> None:
    """White noise, and noise that the bandwidth of the detector has correlated along the rows."""
    from scipy.ndimage import gaussian_filter1d

    noise = np.random.default_rng(11).normal(0.0, 1.0, (300, 300))
    if smoothing:
        noise = gaussian_filter1d(noise, smoothing, axis=1)
    with pytest.raises(DataError, match="nothing but noise"):
        measure_contacts(_image(128.0 + 20.0 * noise / noise.std()))


def test_faint_contacts_are_no_noise() -> None:
    """The faintest simulated contacts that the search still finds lie well above the limit for noise."""
    pixels = simulate_contacts(seed=3, shape=(300, 300)).pixels.astype(np.float64)
    noisy = pixels + np.random.default_rng(4).normal(0.0, 1.5 * np.ptp(np.quantile(pixels, (0.05, 0.95))), pixels.shape)
    result = measure_contacts(Image(noisy, "nm", (0.9, 0.9)))
    assert sum(site.state in ("found", "weak") for site in result.sites) > 5


def test_lines_are_no_contacts() -> None:
    x = np.arange(400)
    stripes = 90.0 + 60.0 * (np.sin(2.0 * np.pi * x / 32.0) > 0.0)
    noise = np.random.default_rng(5).normal(0.0, 12.0, (300, 400))
    with pytest.raises(DataError, match="no closed features"):
        measure_contacts(_image(stripes + noise))


def test_a_data_bar_is_refused_and_the_rows_to_use_are_named() -> None:
    pixels = simulate_contacts(seed=2, shape=(300, 300)).pixels.copy()
    pixels[250:280] = pixels.max()
    pixels[260:270, 40:90:3] = 0
    with pytest.raises(DataError) as caught:
        refuse_drawn_rows(pixels)
    assert "250:280" in str(caught.value.got) and "0:250" in str(caught.value.remedy)
    refuse_drawn_rows(pixels[:250])
    refuse_drawn_rows(np.zeros((300, 300)))  # a blank image has an error of its own


def test_real_images_with_their_bars(data_root: Path) -> None:
    folder = data_root / "wafer" / "smile2_sem" / "contacts"
    for name in ("Ctest1.tif", "Ctest2.tif", "Ctest3.tif"):
        with pytest.raises(DataError, match="data bar"):
            measure_contacts(read_image(folder / name, pixel=(0.9, 0.9), unit="nm"))
