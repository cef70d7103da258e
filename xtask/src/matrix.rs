//! The machines that the image is tested on: every pair of choices at least once.
//!
//! The full product of the axes would take hours and find little more: faults of this kind come
//! from one choice or from two that meet. The set is computed from the board's data, greedily and
//! always the same.

use crate::board::{Board, Choices};
use std::collections::BTreeSet;

/// Two axes, each with the index of a value.
type Pair = ((usize, usize), (usize, usize));

/// Machines of `board` that together hold every pair of tested values.
pub(crate) fn pairwise(board: &Board) -> Vec<Choices> {
    let sizes: Vec<usize> = board.axis.values().map(|axis| axis.values.len()).collect();
    let named = |row: Vec<usize>| {
        let axes = board.axis.iter().zip(row);
        axes.map(|((name, axis), value)| (name.clone(), axis.values[value].clone())).collect()
    };
    rows(&sizes).into_iter().map(named).collect()
}

/// Rows of value indices in which every pair of columns shows every pair of values.
fn rows(sizes: &[usize]) -> Vec<Vec<usize>> {
    // One column, or none: there are no pairs; each value is a row.
    if let [only] = sizes {
        return (0..*only).map(|value| vec![value]).collect();
    }
    let mut open: BTreeSet<Pair> = (0..sizes.len())
        .flat_map(|a| (a + 1..sizes.len()).map(move |b| (a, b)))
        .flat_map(|(a, b)| {
            (0..sizes[a]).flat_map(move |v| (0..sizes[b]).map(move |w| ((a, v), (b, w))))
        })
        .collect();
    // The first row is the default machine.
    let mut rows = vec![vec![0; sizes.len()]];
    open.retain(|pair| !holds(&rows[0], *pair));
    while let Some(&seed) = open.first() {
        let row = grow(sizes, seed, &open);
        open.retain(|pair| !holds(&row, *pair));
        rows.push(row);
    }
    rows
}

fn holds(row: &[usize], ((a, v), (b, w)): Pair) -> bool {
    row[a] == v && row[b] == w
}

/// A row with the pair `seed`, the rest chosen to cover as much of `open` as each column can.
fn grow(sizes: &[usize], seed: Pair, open: &BTreeSet<Pair>) -> Vec<usize> {
    let mut chosen: Vec<Option<usize>> = vec![None; sizes.len()];
    chosen[seed.0.0] = Some(seed.0.1);
    chosen[seed.1.0] = Some(seed.1.1);
    for column in 0..sizes.len() {
        if chosen[column].is_some() {
            continue;
        }
        let gain = |value: usize| {
            let meets = |(other, with): (usize, &Option<usize>)| {
                let with = (*with)?;
                let (a, b) = ((column, value), (other, with));
                Some(usize::from(open.contains(&(a.min(b), a.max(b)))))
            };
            chosen.iter().enumerate().filter_map(meets).sum::<usize>()
        };
        // The last of the best would make defaults rare; the first makes them the common machine.
        chosen[column] = (0..sizes[column]).rev().max_by_key(|value| gain(*value));
    }
    chosen.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn every_pair_of_values_meets_in_some_row() {
        for sizes in [vec![5, 2, 4, 2, 3, 2], vec![2, 2], vec![1, 3, 1], vec![4, 4, 4]] {
            let rows = rows(&sizes);
            for a in 0..sizes.len() {
                for b in a + 1..sizes.len() {
                    for (v, w) in (0..sizes[a]).flat_map(|v| (0..sizes[b]).map(move |w| (v, w))) {
                        let met = rows.iter().any(|row| holds(row, ((a, v), (b, w))));
                        assert!(met, "columns {a}, {b}: {v}, {w}");
                    }
                }
            }
        }
    }

    #[test]
    fn it_is_far_smaller_than_the_product() {
        let rows = rows(&[5, 2, 4, 2, 3, 2]);
        assert!(rows.len() <= 24, "{} rows", rows.len());
    }

    #[test]
    fn one_axis_gives_each_value_and_none_gives_the_one_machine() {
        assert_eq!(rows(&[3]), [[0], [1], [2]]);
        assert_eq!(rows(&[]), [[0; 0]]);
    }

    #[test]
    fn the_real_boards_are_covered_and_can_be_picked() {
        for board in Board::all(&workspace::root()).unwrap() {
            let machines = pairwise(&board);
            for (name, axis) in &board.axis {
                for value in &axis.values {
                    assert!(machines.iter().any(|m| &m[name] == value), "{name}={value}");
                }
            }
            for machine in &machines {
                assert_eq!(&board.pick(machine).unwrap(), machine);
            }
        }
    }
}
