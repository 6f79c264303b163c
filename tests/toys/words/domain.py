"""Words, from data to scores."""

import torch

from genmatter.domains.words.vae import LETTERS, SIZE, Spelled, Words
from genmatter.errors import DataError
from genmatter.maths.noise import generator
from genmatter.spine import Domain, Observable, Score, Splits

VOWELS = "aei"


def vowels(words):
    return torch.tensor([float(sum(c in VOWELS for c in w)) for w in words.texts])


def rank(words):
    """The sum of the letters' places in the alphabet."""
    return torch.tensor([float(sum(map(LETTERS.index, w))) for w in words.texts])


def strange(words):
    return ["no vowel" if not v else "" for v in vowels(words).tolist()]


class WordsDomain(Domain[Words]):
    representation = Spelled
    observables = (Observable("vowels", "letters", vowels), Observable("rank", "", rank))
    formats = (".txt",)
    counts_failures = True
    quest = ("rank=max",)
    noun = "word"

    def load(self):
        g, n = generator("words", 0), self.config.data.words
        odds = torch.tensor([[3.0, 3, 3, 1, 1, 1], [1.0, 1, 1, 3, 3, 3]])  # vowels take turns
        x = torch.stack([torch.multinomial(odds[i % 2], n, True, generator=g) for i in range(5)])
        words = list(dict.fromkeys("".join(LETTERS[i] for i in row) for row in x.T.tolist()))
        fine = [w for w, why in zip(words, strange(Words(tuple(words))), strict=True) if not why]
        cut = len(fine) // 2, 3 * len(fine) // 4
        parts = fine[: cut[0]], fine[cut[0] : cut[1]], fine[cut[1] :]
        return Splits(*(Words(tuple(part)) for part in parts))

    def parse(self, text):
        return Words((text,)) if len(text) == SIZE and set(text) <= set(LETTERS) else None

    def identities(self, objects):
        return list(objects.texts)

    def similarity(self, objects, to):
        same = [sum(a == b for a, b in zip(w, to.texts[0], strict=True)) for w in objects.texts]
        return torch.tensor(same) / SIZE

    def changed(self, objects, n, generator):
        at = torch.randint(SIZE, (n,), generator=generator).tolist()
        new = torch.randint(len(LETTERS), (n,), generator=generator).tolist()
        words = (objects.texts[k % len(objects)] for k in range(n))
        return Words(
            tuple(w[:i] + LETTERS[k] + w[i + 1 :] for w, i, k in zip(words, at, new, strict=True))
        )

    def changes(self, objects, to):
        pairs = ([*zip(to.texts[0], w, strict=True)] for w in objects.texts)
        return [":".join(f"{a}{i}{b}" for i, (a, b) in enumerate(p) if a != b) for p in pairs]

    def cost(self, objects):
        wanted = [float(text.removeprefix("vowels=")) for text in self.config.sampling.target]
        return (vowels(objects) - wanted[0]).abs() if wanted else None

    def record(self, folder):
        (folder / "left_out.txt").write_text("words without a vowel\n")

    def read(self, path):
        if not path.is_file():
            raise DataError(f"there is no file {str(path)!r}")
        return Words(tuple(path.read_text().split()))

    def write(self, objects, path):
        path.write_text("\n".join(objects.texts))

    def faults(self, objects):
        return strange(objects)

    def score(self, samples, splits):
        sound = sum(not why for why in strange(samples)) / len(samples)
        gap = (vowels(samples).mean() - vowels(splits.test).mean()).abs()
        return {"valid": Score(sound, 1.0), "vowels_gap": Score(gap.item(), 0.0)}

    def match(self, objects, copies):
        same = [a == b for a, b in zip(objects.texts, copies.texts, strict=True)]
        return {"exact": Score(sum(same) / len(same), 1.0)}

    def draw(self, objects, titles):
        return f"<p>{', '.join(objects.texts)}: {', '.join(titles)}</p>"


DOMAIN = WordsDomain
