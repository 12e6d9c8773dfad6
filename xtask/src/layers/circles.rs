//! Cycles in a graph whose nodes are numbers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Returns the shortest cycle through each edge that is part of a cycle. A cycle begins and ends
/// with its smallest node.
pub(crate) fn circles(edges: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
    let mut found = BTreeSet::new();
    for &(from, to) in edges {
        if let Some(path) = shortest(edges, to, from) {
            found.insert(turned(path));
        }
    }
    let mut found: Vec<Vec<usize>> = found.into_iter().collect();
    found.sort_by_key(Vec::len);
    found
}

/// Returns the nodes of a shortest path, with both ends.
fn shortest(edges: &BTreeSet<(usize, usize)>, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut before = BTreeMap::from([(from, from)]);
    let mut open = VecDeque::from([from]);
    while let Some(node) = open.pop_front() {
        if node == to {
            return Some(way(&before, to));
        }
        for &(_, next) in edges.range((node, 0)..=(node, usize::MAX)) {
            before.entry(next).or_insert_with(|| {
                open.push_back(next);
                node
            });
        }
    }
    None
}

/// Follows a path back to its start, which is its own predecessor.
fn way(before: &BTreeMap<usize, usize>, to: usize) -> Vec<usize> {
    let mut way = vec![to];
    let mut node = to;
    while let Some(&previous) = before.get(&node).filter(|previous| **previous != node) {
        way.push(previous);
        node = previous;
    }
    way.reverse();
    way
}

/// Rotates a cycle so that it begins with its smallest node, and closes it.
fn turned(mut circle: Vec<usize>) -> Vec<usize> {
    let smallest = circle.iter().enumerate().min_by_key(|(_, node)| **node);
    let place = smallest.map_or(0, |(place, _)| place);
    circle.rotate_left(place);
    circle.extend(circle.first().copied());
    circle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        circles(&edges.iter().copied().collect())
    }

    #[test]
    fn graph_without_a_way_back_has_no_circle() {
        assert_eq!(found(&[(1, 2), (2, 3), (1, 3)]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn every_edge_on_a_circle_is_in_one_that_is_found() {
        let edges = [(1, 2), (2, 1), (2, 3), (3, 4), (4, 2), (4, 5)];
        assert_eq!(found(&edges), [vec![1, 2, 1], vec![2, 3, 4, 2]]);
    }
}
