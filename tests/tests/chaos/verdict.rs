//! Compares what main was told with the workers' records.

use std::collections::HashMap;

use ipc_tests::deep;
use ipc_worker::{Again, Counters, How};

use crate::handler::REFUSE;
use crate::load::{GREETING, Life, Made, Told};
use crate::record::{Record, What};

/// A worker process: its pid, and how often that pid was used before.
type Lifetime = (u32, usize);

/// The records of one request.
#[derive(Clone, Debug, Default)]
struct Fact {
    /// The workers that began it, and those that ended it with the position of the record.
    begun: Vec<Lifetime>,
    ended: Vec<(Lifetime, usize)>,
}

/// Judges every request.
pub(crate) fn judge(made: &[Made], life: Life, records: &[Record], counters: &[Counters]) {
    let facts = sort(made, records);
    // A worker killed right at the beginning may not have recorded it.
    let mut unwritten = 0;
    for (number, (made, fact)) in made.iter().zip(&facts).enumerate() {
        let say = || format!("request {number}: {made:?}, {fact:?}");
        let may_repeat = matches!(made.again, Again::UntilDone | Again::UntilAnswered);
        let most = if may_repeat { made.tries.into() } else { 1 };
        assert!(fact.begun.len() <= most, "it began too often: {}", say());
        assert_eq!(made.told.is_some(), !made.is_one_way, "one outcome each: {}", say());
        let Some(told) = made.told else { continue };
        let is_right = match told {
            Told::Reply => made.method != REFUSE && !fact.ended.is_empty(),
            Told::Refused => !fact.ended.is_empty(),
            Told::Lost(How::NotBegun) => made.again == Again::Never && fact.begun.is_empty(),
            Told::Lost(How::Running) => {
                unwritten += usize::from(fact.begun.is_empty());
                !may_repeat
            }
            Told::Lost(_) => made.again != Again::UntilAnswered && !fact.ended.is_empty(),
            Told::SetAside(how) => {
                unwritten += most - fact.begun.len();
                may_repeat && how != How::NotBegun
            }
            // The rest of an outcome is checked on arrival.
            Told::Late | Told::Cancelled => true,
        };
        assert!(is_right, "{}", say());
    }
    assert!(unwritten <= life.deaths, "{unwritten} began without a record, {life:?}");
    judge_one_ways(made, &facts, counters);
    print(made, life, &facts, counters);
}

/// Every unfinished one-way was counted as lost, and no finished one was.
fn judge_one_ways(made: &[Made], facts: &[Fact], counters: &[Counters]) {
    let sum = |count: fn(&Counters) -> u64| -> usize {
        usize::try_from(counters.iter().map(count).sum::<u64>()).unwrap()
    };
    let counted = sum(|it| it.one_ways_lost + it.one_ways_expired + it.one_ways_refused);
    let one_ways = || made.iter().zip(facts).filter(|(made, _)| made.is_one_way);
    let ended = one_ways().filter(|(_, fact)| !fact.ended.is_empty()).count();
    let all = one_ways().count();
    assert!(all - ended <= counted, "{ended} of {all} one-ways finished, {counted} counted");
    assert!(all - counted <= ended, "{ended} of {all} one-ways finished, {counted} counted");
    let late = one_ways().filter(|(made, _)| made.deadline.is_some()).count();
    assert!(sum(|it| it.one_ways_expired) <= late);
    let refusing = one_ways().filter(|(made, _)| made.method == REFUSE).count();
    assert!(sum(|it| it.one_ways_refused) <= refusing);
}

/// Sorts the records by request, and checks their order.
fn sort(made: &[Made], records: &[Record]) -> Vec<Fact> {
    let mut facts = vec![Fact::default(); made.len()];
    let mut lives: HashMap<u32, usize> = HashMap::new();
    let mut told: HashMap<u32, (Lifetime, usize)> = HashMap::new();
    let (mut last_begun, mut last_record) = (HashMap::new(), HashMap::new());
    for (place, &Record { number, what, pid }) in records.iter().enumerate() {
        if what == What::Born {
            *lives.entry(pid).or_default() += 1;
            continue;
        }
        if number == GREETING {
            continue;
        }
        let who = (pid, lives.get(&pid).copied().unwrap_or(0));
        let index = usize::try_from(number).unwrap();
        if what == What::Told {
            told.insert(number, (who, place));
            continue;
        }
        let (made, fact) = (&made[index], &mut facts[index]);
        assert!(what != What::Wrong, "request {number} was incomplete: {made:?}");
        let before_this = last_record.insert(who, place);
        if what == What::Ended {
            fact.ended.push((who, place));
            continue;
        }
        // Within one worker requests keep their order, so none begins there twice.
        let before = last_begun.insert(who, number);
        assert!(before < Some(number), "{number} after {before:?} in {who:?}");
        fact.begun.push(who);
        // A worker may have claimed it just before main took it back, in which case this is its
        // next record. No other worker begins it.
        if let Some(&(teller, told_at)) = told.get(&number) {
            let was_claimed = teller == who && before_this.is_none_or(|place| place < told_at);
            let may = was_claimed && matches!(made.told, Some(Told::Late | Told::Cancelled));
            assert!(may, "{number} begins after its outcome: {made:?}, {fact:?}");
        }
    }
    for (number, (made, fact)) in made.iter().zip(&facts).enumerate() {
        // A request that has ended begins again only if its worker was killed at that very moment,
        // or if repeating it is allowed.
        for (who, place) in fact.ended.iter().filter(|(who, _)| fact.begun.last() != Some(who)) {
            let may = made.again == Again::UntilAnswered || last_record[who] == *place;
            assert!(may, "{number} begins after its end: {made:?}, {fact:?}");
        }
    }
    facts
}

/// Prints what happened, and checks that there was chaos.
fn print(made: &[Made], life: Life, facts: &[Fact], counters: &[Counters]) {
    let count = |is: fn(&Told) -> bool| made.iter().filter_map(|it| it.told).filter(is).count();
    let replies = count(|it| matches!(it, Told::Reply | Told::Refused));
    let lost = [
        count(|it| *it == Told::Lost(How::NotBegun)),
        count(|it| *it == Told::Lost(How::Running)),
        count(|it| *it == Told::Lost(How::Done)),
    ];
    let set_aside = count(|it| matches!(it, Told::SetAside(_)));
    let given_up = [count(|it| *it == Told::Late), count(|it| *it == Told::Cancelled)];
    let repeated = facts.iter().filter(|fact| fact.begun.len() > 1).count();
    println!(
        "{} requests and one-ways, {life:?}: {replies} answered, {lost:?} lost (not begun, running, \
         done), {set_aside} set aside, {given_up:?} late and cancelled, {repeated} begun again",
        made.len()
    );
    for counters in counters {
        let counts: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
        println!("{counts:?}");
    }
    assert!(replies > 0 && life.deaths > 0, "no chaos");
    // Few workers are killed between a request's end and its reply.
    let is_chaos = lost[0] > 0 && lost[1] > 0 && set_aside > 0 && repeated > 0;
    assert!(!deep::is_asked_for() || is_chaos, "no chaos");
}
