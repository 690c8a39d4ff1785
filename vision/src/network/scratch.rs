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

    /// Areas of these lengths, each at the start of a cache line, and the memory of products. What they hold is left from
    /// earlier work.
    pub(super) fn areas<const N: usize>(&mut self, lens: [usize; N]) -> ([&mut [f32]; N], &mut Work) {
        let wanted = lens.iter().map(|len| len.next_multiple_of(LINE)).sum::<usize>() + LINE;
        if self.numbers.len() < wanted {
            self.numbers = vec![0.0; wanted];
        }
        let bytes = LINE * size_of::<f32>();
        // Alignment is for speed only, and `align_offset` may decline to answer.
        let skip = self.numbers.as_ptr().align_offset(bytes).min(LINE);
        let mut rest = &mut self.numbers[skip..];
        let areas = lens.map(|len| {
            let (area, behind) = std::mem::take(&mut rest).split_at_mut(len.next_multiple_of(LINE));
            rest = behind;
            &mut area[..len]
        });
        (areas, &mut self.work)
    }
}
