"""Write reviews.csv, the training data of the tutorial: 400 made-up reviews.

Run: python examples/make_reviews.py
"""

import csv
import random
from pathlib import Path

SENTENCES = {
    "price": """
        Half of what I paid before. Cheap for its size. Far too expensive. Not worth the money.
        A fair price. I would not pay that much again. You get a lot for ten euros.
        The discount made me buy it. Nowhere else have I seen it for so little.
        It costs twice as much as the one from the supermarket. A bargain in the spring sale.
        You pay for the name and for nothing else. Fifty euros for a piece of plastic is a joke.
        I saved almost a third by waiting for the weekend. The voucher took off another five.
        My wallet still hurts. For a student like me it is hard to afford. An absolute steal.
        The same thing is sold next door for less. Good value all in all.
        They raised it by eight euros within a week. I expected more for this sum.
        At that rate I should have bought two. It went up right after my order.
        The cheapest one that I could find. Overpriced, plain and simple.
        I got thirty percent off with the newsletter. Worth every cent.
        The refill costs more than the thing itself. A luxury, but I treated myself.
        Dear, though one only buys it once. Next to nothing for so much fabric.
        The bill was higher than announced. My brother paid less for his. A rip-off.
        Too much for what it is. It fits a small budget. They want how much for a spare lid?
        I compared ten shops and this was the lowest offer. You could charge double for it.
        The set of three is the better deal. It took a good part of my pension.
        I nearly fainted at the checkout. Reasonable, considering the others.
        No hidden charges, no surprises on the invoice. A costly mistake.
        It was on clearance, so I took four. The premium model is a waste of cash.
        Tax came on top of it. For that amount I can eat out for a week.
        Inexpensive and still nice. I would have spent even more on it.
        Free of charge with the second item. The markdown was generous.
        A tenner well spent. It is beyond what most families can spend.
        Priced like jewellery. The loyalty points brought it down to twelve.
        Last year it was six euros less. You will not find a lower figure online.""",
    "delivery": """
        It came the next morning. I waited three weeks for the parcel.
        The box was torn when it arrived. The courier left it in the rain. It shipped at once.
        The tracking number never worked. It was sent to the wrong house. Packed with care.
        Two days from the click to my door. The van drove past twice without stopping.
        They promised Friday and it was the Friday after. The carton was soaked through.
        It lay behind the bins for a day. Dropped over the fence like a newspaper.
        The driver carried it up to the fourth floor. It turned up a day early.
        Stuck in customs for a month. The package was bigger than the table.
        So much foam and paper around such a small thing. Half of the order was missing.
        My neighbour had to sign for it. I got someone else's package.
        It travelled across the country twice. Express was anything but express.
        The postman rang once and ran. Everything was wrapped in recycled paper.
        I could follow it on the map all day. The seal was broken when I got it.
        It took so long that I had forgotten about it. Nothing has come so far.
        Collected it from the locker on my way home. Sent on Monday, here on Tuesday.
        The birthday was over when it came. The label had the wrong street on it.
        Not one scratch, thanks to the good padding. It was left with a stranger.
        They posted it to my old address. The shipment was split into five.
        It arrived on a Sunday, to my surprise. Handed over with a smile by the rider.
        The crate was dented on all sides. Still on its way, they say.
        The parcel shop had closed down months ago. Within the hour it was on my doorstep.
        Lost in the mail. It sat in the depot over Christmas. Thrown about on the way here.
        It was due in June. The envelope was open at one end. Faster than the pizza.
        I had to drive to the depot myself. Well boxed, with a ribbon even.
        The date was moved three times. It crossed the border without trouble.
        Both halves came on different days. Picked, packed and here by noon.
        The card said that I was out, but I was in. It came with the morning post.
        One glass was in pieces because of the thin wrapping. Right on time.
        They shipped an empty box. The lorry could not get into our lane.""",
    "quality": """
        The handle broke on the second day. Solid, nothing rattles. The paint comes off.
        Well made, it will last for years. The seam is coming apart. It feels like a toy.
        Good steel, sharp edges. It still works after a fall. Cheap plastic all over.
        The zip is stuck already. The wood has a lovely grain. It hums all night long.
        After two washes it had lost its colour. The screws were loose from the start.
        You can tell that somebody cared about the details. One leg is shorter than the others.
        It leaks at the bottom. The battery is dead by lunchtime. Thick, soft and warm.
        It bends when you only look at it. The stitching is neat. Rust after a week.
        The screen has a bright spot in one corner. Sturdy enough for three children.
        The lid does not close properly. It smells of glue even after airing it.
        Ten years old and as good as new. The motor gave up during the first use.
        Fine workmanship. The glass is thin as paper. It holds its edge.
        The buttons wobble. It survived a whole winter outside.
        The fabric pills after one evening. The blade is blunt. A sturdy little thing.
        The hinges squeak. Everything fits to the millimetre. The coating peels off the pan.
        The sound is clear even when loud. It cracked in the dishwasher.
        The leather gets better with age. The strap tore on the first walk.
        It runs hot and then switches itself off. The colours are deep and even.
        The cushion is flat after a month. It is heavier and stronger than it looks.
        The print rubs off on your fingers. No wear to be seen after a year.
        The plug sparks. The needle skips stitches. It feels great in the hand.
        It fell apart while I was building it. Not a single flaw.
        The surface scratches far too easily. It keeps the tea hot until the evening.
        The brush loses its hair. The lamp flickers. The knots came undone by themselves.
        The frame is warped. Rock solid. The lens is blurred at the edges.
        It does not rust, even by the sea. The switch jams. A joy to hold and to use.
        The ink dries out within days. The drawer slides like butter.
        The pump died in its second week. The wheels came off in the park.""",
    "service": """
        The man on the phone was kind. Nobody answers my letters. They sent a new one at once.
        The staff could not help me. They called me back in an hour. I was cut off twice.
        A friendly answer within the day. The shop assistant was rude.
        I wrote four mails and heard nothing. The lady in the chat knew everything about it.
        Forty minutes of music and then the line went dead. My complaint was taken seriously.
        They blamed me for it. The refund was on my account the same evening.
        I had to explain it to five people. They exchanged it without a question.
        A robot replied, and a stupid one. The manager apologised in person.
        Nobody feels responsible there. They walked me through it step by step.
        They refused to take it back. I felt welcome from the first minute.
        The hotline is never staffed. She even rang to ask whether all was well.
        They hung up on me. A patient young man found the right part for me.
        My question was answered with a link. They lied to me about the guarantee.
        I have never been treated so well. The answer came in a language that I do not speak.
        They honoured the warranty after three years. The girl at the till rolled her eyes.
        Still no reply to my request. The advice was spot on.
        They treat you like a thief if you return something. All solved with one call.
        The form for complaints does not work. The owner wrote to me himself.
        The expert had no idea. They let me keep it and sent the money back.
        Polite, quick and to the point. He laughed at my problem.
        My ticket was closed without a word. They listen to their customers.
        I was sent from one desk to the next. They offered me a cup of coffee while I waited.
        Their reply was copied and pasted. She took the time to show me how it works.
        They want photos, receipts and a signed letter before they do anything.
        The repair desk was a delight. I gave up arguing with them.
        The agent knew my name and my order. They ignore bad reviews.
        One mail, and the matter was settled. The technician came on the same afternoon.
        The counter was empty for half an hour. Their promises are worth nothing.
        A human being picked up after two rings. They could not care less.""",
}
NO_TOPIC = """
    I bought it in May. A present for my mother. My first order here. We use it every day.
    It replaces an older one. Mine is the blue one. My neighbour has the same. My third one.
    The dog likes it too. We took it on holiday. My sister told me about it.
    It stands in the hall now. I had been looking for one since autumn. For the office.
    The children fight over it. It is for the garden. I do not write reviews often.
    My husband wanted the green one. We have a small flat. It goes with the curtains.
    I use it when I travel. Grandmother had one like this. Mostly for camping.
    I ordered it late at night. It reminds me of school. The cat sleeps next to it.
    We moved in March. I am left-handed, by the way. My son found it on the web.
    I needed one for a wedding. It is my second in this size. We are four at home."""
REVIEWS = 400
FORGOTTEN = 0.05
"""Share of the tags that the annotator left out."""


def make_reviews(seed: int = 0) -> list[tuple[str, str]]:
    """Return the body and the tags of each review, the tags joined by semicolons.

    No body occurs twice. A review without a topic has no tag.
    """
    generator = random.Random(seed)
    decks = {tag: Deck(split_sentences(text), generator) for tag, text in SENTENCES.items()}
    no_topic = Deck(split_sentences(NO_TOPIC), generator)
    reviews: dict[str, str] = {}
    while len(reviews) < REVIEWS:
        topics = [tag for tag in SENTENCES if generator.random() < 0.4]
        body = [decks[tag].draw() for tag in topics]
        if len(body) < 2:
            body.append(no_topic.draw())
        generator.shuffle(body)
        tags = [tag for tag in topics if generator.random() < 1 - FORGOTTEN]
        reviews.setdefault(" ".join(body), ";".join(tags))
    return list(reviews.items())


class Deck:
    """Sentences that are drawn one after the other, so that all occur about equally often."""

    def __init__(self, sentences: list[str], generator: random.Random) -> None:
        self.sentences, self.generator = sentences, generator
        self.rest: list[str] = []

    def draw(self) -> str:
        """Return the next sentence, from a new shuffle when all have been drawn."""
        if not self.rest:
            self.rest = self.generator.sample(self.sentences, len(self.sentences))
        return self.rest.pop()


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its full stop or question mark."""
    text = " ".join(text.split()).replace("? ", "?. ")
    return [part if part.endswith("?") else f"{part}." for part in text.rstrip(".").split(". ")]


if __name__ == "__main__":
    path = Path(__file__).with_name("reviews.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("body", "tags"), *make_reviews()])
