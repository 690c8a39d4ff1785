//! A slot's working memory: the strips of a block between its three convolutions, and what products need beside them.

use crate::kernels::Work;

/// Numbers in a cache line, which a vector register also holds.
const LINE: usize = 16;

/// Working memory of one slot. It grows to what the largest block needs and is used again for every image.
#[derive(Debug, Default)]
pub struct Scratch {
    numbers: Vec<f32>,
    work: Work,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::default()
    }

    /// Two areas of these lengths, each at the start of a cache line, and the memory of products. What they hold is left
    /// from earlier work.
    pub(super) fn areas(&mut self, first: usize, second: usize) -> (&mut [f32], &mut [f32], &mut Work) {
        let first_lines = first.next_multiple_of(LINE);
        let wanted = first_lines + second + LINE;
        if self.numbers.len() < wanted {
            self.numbers = vec![0.0; wanted];
        }
        let bytes = LINE * size_of::<f32>();
        // Alignment is for speed only, and `align_offset` may decline to answer.
        let skip = self.numbers.as_ptr().align_offset(bytes).min(LINE);
        let (a, b) = self.numbers[skip..].split_at_mut(first_lines);
        (&mut a[..first], &mut b[..second], &mut self.work)
    }
}
