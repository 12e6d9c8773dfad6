//! The turns of phrase to avoid. This folder is not searched itself.

/// A turn of phrase, and what to write instead.
pub(super) struct Phrase {
    /// Its words; `|` separates words of which any is meant.
    pub(super) words: &'static str,
    /// Not after one of these words, and not before one of those: there it is plain English.
    pub(super) unless: [&'static str; 2],
    pub(super) instead: &'static str,
    /// How often it may still be found. Lower it as soon as it is found less often.
    pub(super) budget: usize,
}

const ANYWHERE: [&str; 2] = ["", ""];

/// Words before "one" that make it a thing: "the next one may be sent".
const A_CERTAIN: &str = "this|that|the|next|last|other|another|old|older|new|newer|present|further|\
                         large|larger|small|smaller|first|second|each|every|no|only|any|and|or";

pub(super) const PHRASES: &[Phrase] = &[
    Phrase {
        words: "whoever|whomever",
        unless: ANYWHERE,
        instead: "name it: \"a process that …\"",
        budget: 8,
    },
    Phrase {
        words: "by|for|from|than|to|wake|wakes|one|side|process|program who",
        unless: ANYWHERE,
        instead: "\"who\" is for people: \"the process that …\", \"the side that …\"",
        budget: 5,
    },
    Phrase {
        words: "stand|stands|stood|standing in",
        unless: ["", "for|line|front"],
        instead: "\"is in\", \"contains\"; of a document: \"WIRE.md specifies …\"",
        budget: 8,
    },
    Phrase {
        words: "is|are|was|were no",
        unless: ["there|here", "longer|more|less|better|worse|need|doubt"],
        instead: "\"is not a …\"",
        budget: 30,
    },
    Phrase {
        words: "there is|are|was|were none",
        unless: ANYWHERE,
        instead: "\"without a …\", \"if it is absent\", \"there is no …\"",
        budget: 19,
    },
    Phrase {
        words: "is|are|was|were none",
        unless: ["there", ""],
        instead: "\"is not a …\", \"means none\"",
        budget: 9,
    },
    Phrase {
        words: "one may|must|can|would|could|should|might",
        unless: [A_CERTAIN, ""],
        instead: "\"you can\", or the imperative",
        budget: 1,
    },
    Phrase {
        words: "of its|their own",
        unless: ANYWHERE,
        instead: "\"its own …\", \"a separate …\"",
        budget: 33,
    },
    Phrase {
        words: "so many",
        unless: ANYWHERE,
        instead: "\"that many\", \"`len` bytes\", \"enough … that\"",
        budget: 67,
    },
    Phrase {
        words: "what has|have|had",
        unless: ["", "happened|changed"],
        instead: "name it: \"messages that arrived\", \"programs without …\"",
        budget: 26,
    },
    Phrase { words: "abortion|abortions", unless: ANYWHERE, instead: "\"abort\"", budget: 0 },
    Phrase {
        words: "ring|rings|bell|bells too many",
        unless: ANYWHERE,
        instead: "\"spurious wake-up\"",
        budget: 0,
    },
    Phrase {
        words: "let|lets|letting go of",
        unless: ANYWHERE,
        instead: "\"releases\", \"retires\", \"closes\"",
        budget: 2,
    },
    Phrase {
        words: "socket|sockets of packets",
        unless: ANYWHERE,
        instead: "\"SOCK_SEQPACKET socket\"",
        budget: 2,
    },
    Phrase { words: "input and output", unless: ["standard", ""], instead: "\"I/O\"", budget: 2 },
    Phrase { words: "is|was kept of", unless: ANYWHERE, instead: "\"keeps no …\"", budget: 1 },
    Phrase { words: "ends of its range", unless: ANYWHERE, instead: "\"saturates\"", budget: 0 },
    Phrase {
        words: "not without|nothing|none",
        unless: ANYWHERE,
        instead: "say it without two negations",
        budget: 0,
    },
];
