"""Each measure that the pages show: its name, its formula and what it means, written once."""

from typing import NamedTuple


class Term(NamedTuple):
    """A measure, for the `help=` of whatever shows it."""

    name: str
    formula: str
    meaning: str

    @property
    def help(self) -> str:
        """The text of its tooltip: meaning, then formula."""
        return f"{self.meaning}\n\n`{self.formula}`"


TERMS = {
    "alive": Term(
        "Alive concepts",
        "neurons with activation > 0 on at least one viewer or item / all neurons",
        "How much of the SAE is in use. A neuron that never fires stands for nothing.",
    ),
    "fidelity": Term(
        "List quality kept",
        "nDCG@20(reconstructed) / nDCG@20(original), held-out items",
        "How well the recommender still does when it sees each viewer only through the SAE. 100 % loses nothing.",
    ),
    "overlap": Term(
        "Order kept",
        "RBO@30, p = 0.9, divided by its value for identical lists",
        "How alike the recommender's own list and the reconstructed one are, the top counting most. 1 is identical.",
    ),
    "explained": Term(
        "Variance explained",
        "1 - FVU = 1 - sum |x - x_hat|^2 / sum |x - mean|^2",
        "Share of the differences between viewers that the SAE rebuilds. Predicting the mean viewer gives 0 %.",
    ),
    "purity": Term(
        "Purity",
        "share of the n items with the highest activation that carry the genre, tag or decade",
        "How cleanly a concept matches something the catalogue knows. Read it against the base rate.",
    ),
    "lift": Term(
        "Purity lift",
        "purity@20 / base rate",
        "How many times more often the genre, tag or decade is among the top items than in the catalogue.",
    ),
    "base_rate": Term(
        "Base rate",
        "items with the genre, tag or decade / all items",
        "The purity that a concept without meaning would have.",
    ),
    "evidence": Term(
        "Evidence",
        "sum over n = 20, 50 of n * (p ln(p / b) + (1 - p) ln((1 - p) / (1 - b))), p = purity@n, b = base rate",
        "How far the top items are from chance: pure, and rare in the catalogue. The list is sorted by it.",
    ),
    "auc_low": Term(
        "Held-out AUC ≥",
        "lower end of the 95 % interval of the AUC of its surest fact, on titles or viewers that did not choose it",
        "How surely the concept tells what has a genre, tag, decade or attribute from what has not: 0.5 is chance, 1 "
        "never errs.",
    ),
    "slope": Term(
        "Steer slope",
        "(share of its best match in the top 20 at half a strong activation - without) / half, unseen viewers, x 100",
        "Points of the list that promoting the concept brings for one strong activation. At 0 it cannot move lists.",
    ),
    "fires_viewers": Term(
        "Fires for viewers",
        "viewers with activation > 0 / all viewers",
        "In how many viewers this concept is active.",
    ),
    "fires_items": Term(
        "Fires for items",
        "items with activation > 0 / all items",
        "For how many items, each seen alone, this concept is active.",
    ),
    "max_activation": Term(
        "Max activation",
        "largest activation over all viewers and items",
        "The scale of this concept: strengths of steering are in the same unit.",
    ),
    "head_share": Term(
        "Head share",
        "activation on head items / activation on all items",
        "Head: the most popular items, which together make 20 % of the interactions. High: a mainstream concept.",
    ),
    "held_out_auc": Term(
        "Held-out AUC",
        "AUC on the half of the rows that had no part in choosing the fact, 95 % interval",
        "How surely it fires more where the fact holds: 0.5 is chance, 1 is always.",
    ),
    "steer_slope": Term(
        "Steer slope",
        "(share of its concept in the top 20 at strength +0.5 - without an edit) / 0.5, mean over unseen viewers",
        "Points of the list that one strong activation more would bring, at the pace of its first half.",
    ),
    "stability": Term(
        "Stability",
        "(cosine of decoder rows + correlation of activations over viewers) / 2, with its match in a second SAE",
        "Whether the same concept comes again when the SAE is trained from another seed: 1 is the same, 0.7 or more "
        "counts as found again.",
    ),
    "level": Term(
        "Level",
        "number of the first prefix of the neurons that the neuron belongs to",
        "Nested neurons: those of level 1 rebuild a viewer alone, coarsely; each level after it adds finer ones.",
    ),
    "cosine": Term(
        "Direction kept",
        "mean over unseen viewers of cos(x, x_hat)",
        "How exactly the SAE rebuilds the direction of a viewer's vector. 1 is exact.",
    ),
    "density": Term(
        "Density",
        "viewers with activation > 0 / all viewers",
        "How common the concept is. Rare concepts are specific, very common ones say little.",
    ),
    "push": Term(
        "Push",
        "<W_dec[j], v_i>: change of the score of item i for one unit more of concept j",
        "Which items rise and which fall when this concept is promoted. Exact for a linear scorer.",
    ),
    "recall": Term(
        "Recall@20",
        "held-out items among the first 20 / min(20, held-out items), mean over viewers",
        "How many of the hidden items the list brings back.",
    ),
    "ndcg": Term(
        "nDCG@20",
        "DCG@20 / ideal DCG@20, mean over viewers",
        "As recall, but a hidden item counts more the higher it stands.",
    ),
    "group_a": Term("Group A", "members of the group", "A positive d means: more active in group A."),
    "group_b": Term("Group B", "members of the group", "What group A is read against. A negative d: more active here."),
    "effect": Term(
        "Cohen's d",
        "(mean activation in A - mean in B) / pooled standard deviation",
        "How far the groups are apart, in standard deviations: 0.2 is little, 0.8 is much. The interval is analytic "
        "(delta method, four moments), without the assumption of normal activations.",
    ),
    "q_value": Term(
        "q-value",
        "p of a permutation of the groups, adjusted by Benjamini and Hochberg over all concepts that vary",
        "Of the concepts up to this q, the share that chance would have brought here too. 0.05 or less is called "
        "different.",
    ),
    "different": Term(
        "Concepts that differ",
        "concepts with q <= 0.05 / concepts that vary",
        "In large groups small differences are found too: read d beside it.",
    ),
    "viewer_history": Term("History", "titles of the viewer, held-out ones left out", "What is known of the viewer."),
    "active": Term(
        "Active concepts",
        "neurons with activation > 0 in this viewer",
        "How many concepts the SAE needs to describe this viewer.",
    ),
    "kept": Term(
        "Kept by the SAE",
        "titles in both the original and the reconstructed top 20",
        "What of the list is still there when the recommender sees the viewer only through the SAE.",
    ),
    "percentile": Term(
        "Percentile",
        "share of the viewers in whom it fires, in whom it fires less; equal ones count half",
        "How strong the concept is here, among those who have it at all.",
    ),
    "item_viewers": Term("Viewers", "viewers with the title in the history", "How many consumed it."),
    "popularity_rank": Term(
        "Popularity rank",
        "1 + titles with more viewers; decile 1 holds the most popular tenth of the titles",
        "How popular it is among the titles of this catalogue.",
    ),
    "item_active": Term(
        "Active concepts",
        "neurons with activation > 0 for the title, seen alone",
        "How many concepts the SAE sees in this title.",
    ),
    "best_place": Term(
        "Highest place",
        "1 + titles that fire the concept more strongly",
        "Where the title stands among those that fire the concept. 1: nothing fires it more.",
    ),
    "share_of_highest": Term(
        "Of the highest",
        "activation of the title / highest activation of any title, each seen alone",
        "How close it comes to the title that fires the concept most.",
    ),
    "pair_cosine": Term(
        "Same direction",
        "cosine of the two decoder rows",
        "Whether they push the same titles: 1 the same, 0 nothing to do with each other, -1 the opposite.",
    ),
    "pair_viewers": Term(
        "Shared viewers",
        "viewers in whom both fire / viewers in whom either fires (Jaccard)",
        "Whether they are the concepts of the same people.",
    ),
    "pair_lift": Term(
        "Together in viewers",
        "viewers in whom both fire / (viewers of A * viewers of B / all viewers)",
        "How many times more often they fire together than if they had nothing to do with each other.",
    ),
    "pair_items": Term(
        "Shared titles",
        "titles that fire both / titles that fire either (Jaccard)",
        "Whether the same titles, each seen alone, make them fire.",
    ),
    "likeness": Term(
        "Likeness",
        "mean of (cosine of decoder rows, correlation over viewers) on one recommender, else of (correlation over "
        "viewers, correlation over titles)",
        "1 is the same concept; 0.7 or more counts as found again.",
    ),
    "viewers": Term("Viewers", "users of the log", "Those kept from the SAE are what its figures are measured on."),
    "titles": Term("Titles", "items of the catalogue that are used", "What lists are made of."),
    "interactions": Term(
        "Interactions",
        "distinct pairs of viewer and title / (viewers * titles)",
        "How much is known, and how sparse it is.",
    ),
    "history": Term("Median history", "median over viewers of the number of their titles", "How much a viewer tells."),
    "long_tail": Term(
        "Share of the head",
        "interactions with the 10 % most popular titles / all interactions",
        "How unequally the titles are consumed: 10 % would be equal.",
    ),
    "audit_steered": Term(
        "Can be steered",
        "AUC held out >= 0.6, gain at strength 3 >= 5 points and beyond random directions, each with q <= 0.05",
        "Genres, tags and decades of which a single concept tells the titles apart and, promoted, brings them into "
        "lists.",
    ),
    "audit_seen": Term(
        "Seen, not steered",
        "AUC held out >= 0.6 with q <= 0.05, but no such gain",
        "A concept tells their titles apart, yet promoting it does not bring them into lists.",
    ),
    "audit_unseen": Term(
        "Not seen",
        "AUC held out < 0.6, or q > 0.05",
        "No single concept tells their titles from others of the same popularity. They may come along when another "
        "concept is promoted, and several together might tell them.",
    ),
    "audit_null": Term(
        "Called by mistake",
        "permuted facts called steerable / permuted facts",
        "The whole procedure on facts that mean nothing: as many titles of the same popularity, drawn at random.",
    ),
    "audit_auc": Term(
        "AUC, held out",
        "sum over popularity deciles of U / sum of n_with * n_without",
        "The chance that the concept fires more on a title of this kind than on another of the same popularity, on the "
        "half of the titles that had no part in choosing it. 0.5 is chance.",
    ),
    "steer_gain": Term(
        "Gain",
        "share of the top 20 at strength 3 - share without an edit",
        "Points of the list gained as far as the sliders go: three strong activations.",
    ),
    "label_random": Term(
        "Told at random",
        "(held-out titles among the 20 strongest that the label names + silent ones that it does not) / 2, as shares",
        "Balanced accuracy on titles that no label was made from, median over the concepts that can be tested. A label "
        "that claims nothing gets 0.5, as a coin does.",
    ),
    "label_hard": Term(
        "Told from similar",
        "the same against silent titles like its own, of its neighbour, or as popular",
        "Random titles are easy: any horror label tells horror films from others. These are not.",
    ),
    "label_null": Term(
        "Labels of others",
        "the same with the label of another concept, drawn at random",
        "What a label reaches that has nothing to do with the concept.",
    ),
    "label_coverage": Term(
        "Catalogue named",
        "genres and tags in a confirmed label / genres and tags of at least 10 titles",
        "How much of what the catalogue knows the labels speak of (RecSAE's concept coverage).",
    ),
    "label_holds": Term(
        "Confirmed labels",
        "lower end of the 95 % interval above 0.5 against random titles, and above 0.5 against similar ones",
        "Concepts whose label tells titles that it was not made from. The others are shown with their doubt.",
    ),
    "label_coherence": Term(
        "Coherence",
        "mean TF-IDF cosine of the facts of two of the 10 strongest titles",
        "How alike what fires a concept is, to the catalogue (RecSAE). Read it against random titles.",
    ),
    "label_agreement": Term(
        "Agreement of people",
        "Krippendorff's alpha, ordered categories 0 to 4",
        "1 is perfect agreement, 0 what chance gives. It needs two people who rated the same labels.",
    ),
}


def help_of(name: str) -> str:
    """Give the tooltip of a term."""
    return TERMS[name].help
