//! Which brackets are open.

/// What is around a place: a bit for each bracket, set where it is an object's.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The innermost ones, up to 64; the lowest bit is the innermost.
    bits: u64,
    depth: usize,
    /// The others, by 64.
    outer: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Object,
    Array,
}

impl Around {
    #[inline(always)]
    pub(super) fn innermost(&self) -> Option<Bracket> {
        let bracket = if self.bits & 1 == 1 { Bracket::Object } else { Bracket::Array };
        (self.depth > 0).then_some(bracket)
    }

    #[inline(always)]
    pub(super) fn push(&mut self, bracket: Bracket) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(bracket == Bracket::Object);
        self.depth += 1;
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }
}
