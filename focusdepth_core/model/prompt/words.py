"""Text for the lite prompt branch: a closed vocabulary and a small encoder, trained with the branch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import torch
from torch import nn

from focusdepth_core.model.prompt.base import TextFeatures

LONGEST = 16  # words
ARTICLES = frozenset({"a", "an", "the"})
_WORD = re.compile(r"[^\W_]+")


def split(text: str) -> list[str]:
    """Words of a text, in lower case, without punctuation and articles."""
    return [word for word in _WORD.findall(text.lower()) if word not in ARTICLES]


def check_words(words: Sequence[str]) -> None:
    """Raises ``ValueError`` for a vocabulary that ``split`` would not give or that says a word twice."""
    for word in words:
        if split(word) != [word]:
            raise ValueError(f"words has {word!r}; give single words in lower case, no punctuation and no articles")
    twice = sorted({w for w in words if words.count(w) > 1})
    if twice:
        raise ValueError(f"words has {', '.join(twice)} more than once")


class WordEncoder(nn.Module):
    """Embeddings and one transformer layer of ``width`` channels, whose mean over the words stands for a text."""

    def __init__(self, words: Sequence[str], width: int, heads: int) -> None:
        super().__init__()
        self.numbers = {word: i for i, word in enumerate(words, 1)}  # 0: no word
        self.embedding = nn.Embedding(len(words) + 1, width)
        self.position = nn.Parameter(0.02 * torch.randn(LONGEST, width))
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """N,LONGEST word numbers, 0 beyond the end. Raises ``ValueError`` for an empty text, one that is too long, and
        unknown words, which are never guessed."""
        numbers = [[self._number(word, text) for word in split(text)] for text in texts]
        for text, row in zip(texts, numbers):
            if not row:
                raise ValueError(f"the text {text!r} has no words; name the target or give it a box alone")
            if len(row) > LONGEST:
                raise ValueError(f"text {text!r} has {len(row)} words, this model reads {LONGEST}; shorten it")
        padded = [row + [0] * (LONGEST - len(row)) for row in numbers]
        return torch.tensor(padded, device=self.position.device)

    def forward(self, tokens: torch.Tensor) -> TextFeatures:
        """N,LONGEST -> N,1,width and N,1. A row of zeros is no text."""
        is_word = tokens > 0
        words = self.layer(self.embedding(tokens) + self.position)
        count = is_word.sum(1, keepdim=True)
        mean = (words * is_word[..., None]).sum(1) / count.clamp(min=1)
        return TextFeatures(mean[:, None], count > 0)

    def _number(self, word: str, text: str) -> int:
        if word not in self.numbers:
            close = difflib.get_close_matches(word, self.numbers, 3) or sorted(self.numbers)[:3]
            raise ValueError(
                f"text {text!r}: {word!r} is not among the {len(self.numbers)} words that this model knows; "
                f"try {', '.join(close)}"
            )
        return self.numbers[word]
