"""The picture of the README, from a run: `python -m benchmarks.polymer_picture runs/demo`."""

import io
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from genmatter import api
from genmatter.domains.polymer import figures
from genmatter.domains.polymer.metrics import asphericity, end_to_end, radius_of_gyration
from genmatter.reporting import plots
from genmatter.reporting.picture import png

PLACE = Path(__file__).parent.parent / "docs" / "_static" / "polymer.png"
WIDTH, LEFT = 1400, 150


def main() -> None:
    """Draws test chains, raw samples, a walk between two chains and the latent map."""
    it = api.load(sys.argv[1])
    test = it.splits.test
    between, _ = it.interpolate(test[torch.tensor([0])], test[torch.tensor([2])], 8)
    colours = {
        "radius of gyration": radius_of_gyration(test).numpy(),
        "end to end": end_to_end(test).numpy(),
        "asphericity": asphericity(test).numpy(),
    }
    rows = {
        "data": figures.strip(test[:8]),
        "raw samples": figures.strip(it.sample(8).objects),
        "from one chain\nto another": figures.strip(between),
        "latent space": plots.latent_map(it.encode(test).numpy(), colours),
    }
    images = [Image.open(io.BytesIO(png(sheet))).convert("RGB") for sheet in rows.values()]
    scaled = [i.resize((WIDTH, round(i.height * WIDTH / i.width))) for i in images]
    page = Image.new("RGB", (WIDTH + LEFT, sum(i.height for i in scaled)), "white")
    pen, top = ImageDraw.Draw(page), 0
    for name, image in zip(rows, scaled, strict=True):
        page.paste(image, (LEFT, top))
        pen.text((10, top + image.height // 2 - 10), name, fill="#334155", font_size=17)
        top += image.height
    PLACE.parent.mkdir(exist_ok=True)
    page.quantize(256).save(PLACE, optimize=True)


if __name__ == "__main__":
    main()
