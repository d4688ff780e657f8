"""Write reviews.csv, the training data of the tutorial: 400 made-up reviews.

Run: python examples/make_reviews.py
"""

import csv
import random
from pathlib import Path

SENTENCES = {
    "price": """
        Half of what I paid before. Cheap for what it does. Far too expensive.
        Not worth the money. A fair price. I would not pay that much again.
        You get a lot for ten euros. The discount made me buy it.""",
    "delivery": """
        It came the next morning. I waited three weeks for the parcel.
        The box was torn when it arrived. The courier left it in the rain.
        It shipped at once. The tracking number never worked.
        It was sent to the wrong house. Packed with care.""",
    "quality": """
        The handle broke on the second day. Solid, nothing rattles. The paint comes off.
        Well made, it will last for years. The seam is coming apart.
        It feels like a toy. Good steel, sharp edges. It still works after a fall.""",
    "service": """
        The man on the phone was kind. Nobody answers my letters.
        They sent a new one at once. The staff could not help me.
        They called me back in an hour. I was cut off twice.
        A friendly answer within the day. The shop assistant was rude.""",
}
NO_TOPIC = """
    I bought it in May. A present for my mother. My first order here. We use it every day.
    It replaces an older one. Mine is the blue one. My neighbour has the same. My third one."""
REVIEWS = 400
FORGOTTEN = 0.2
"""Share of the tags that the annotator left out."""


def make_reviews(seed: int = 0) -> list[tuple[str, str]]:
    """Return the body and the tags of each review, the tags joined by semicolons.

    No body occurs twice. A review without a topic has no tag.
    """
    sentences = {tag: split_sentences(text) for tag, text in SENTENCES.items()}
    generator = random.Random(seed)
    reviews: dict[str, str] = {}
    while len(reviews) < REVIEWS:
        topics = [tag for tag in SENTENCES if generator.random() < 0.4]
        body = [generator.choice(sentences[tag]) for tag in topics]
        if not topics:
            body = generator.sample(split_sentences(NO_TOPIC), 2)
        generator.shuffle(body)
        tags = [tag for tag in topics if generator.random() < 1 - FORGOTTEN]
        reviews.setdefault(" ".join(body), ";".join(tags))
    return list(reviews.items())


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its full stop."""
    return [sentence.strip() + "." for sentence in text.split(".") if sentence.strip()]


if __name__ == "__main__":
    path = Path(__file__).with_name("reviews.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("body", "tags"), *make_reviews()])
