//! `--user` and `--group`, which this program also accepts as names.

use std::ffi::{CStr, CString};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::common::opening::Ids;
use crate::common::options::Options;
use crate::common::say::{Failed, fail};

/// Looks up the names: the user with its groups, or with the one group that was given.
pub(crate) fn find(options: &Options) -> Result<Option<Ids>, Failed> {
    let user = options.user.map(find_user).transpose()?;
    let group = options.group.map(find_group).transpose()?;
    let (user, group, groups) = match (&user, group) {
        (None, None) => return Ok(None),
        (None, Some(group)) => (Uid::effective(), group, vec![group]),
        (Some((user, _)), Some(group)) => (*user, group, vec![group]),
        (Some((user, Some(entry))), None) => (*user, entry.gid, groups_of(entry)),
        (Some((user, None)), None) => {
            return Err(fail(format_args!("--user {user}: unknown here, so --group is needed")));
        }
    };
    let mut numbers = heapless::Vec::new();
    for group in groups {
        if numbers.push(group.as_raw()).is_err() {
            return Err(fail(format_args!("--user {user}: in more than {} groups", numbers.len())));
        }
    }
    Ok(Some(Ids { user: user.as_raw(), group: group.as_raw(), groups: numbers }))
}

fn groups_of(user: &User) -> Vec<Gid> {
    let name = CString::new(user.name.as_str()).unwrap_or_default();
    getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid])
}

/// Finds a user by name or number.
fn find_user(text: &CStr) -> Result<(Uid, Option<User>), Failed> {
    let text = text.to_string_lossy();
    let number = text.parse().ok().map(Uid::from_raw);
    let found = number.map_or_else(|| User::from_name(&text), User::from_uid);
    let found = found.map_err(|error| fail(format_args!("--user {text}: {error}")))?;
    let uid = found.as_ref().map(|user| user.uid).or(number);
    let uid = uid.ok_or_else(|| fail(format_args!("--user {text}: not known here")))?;
    Ok((uid, found))
}

/// Finds a group by name or number.
fn find_group(text: &CStr) -> Result<Gid, Failed> {
    let text = text.to_string_lossy();
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(&text);
    let found = found.map_err(|error| fail(format_args!("--group {text}: {error}")))?;
    let group = found.ok_or_else(|| fail(format_args!("--group {text}: not known here")))?;
    Ok(group.gid)
}
