//! The part of a zipped library that a runtime keeps.
//!
//! A runtime's wheel carries more packages than anybody was promised, and what is kept travels
//! with the module. Members are taken over as they are, still compressed: so the result is a
//! function of the wheel alone, and not of who compresses how.

/// Starts what says where members are and how they are compressed, one for each.
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
/// Starts each member.
const MEMBER: [u8; 4] = *b"PK\x03\x04";
const MEMBER_BYTES: usize = 30;
/// Ends the file.
const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;

/// A zip of those members of `zip` whose names are wanted, in their order; `None` if it is no zip,
/// or one with a comment or of more than 4 GiB.
pub fn part(zip: &[u8], is_wanted: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let end = zip.len().checked_sub(END_BYTES).map(|at| &zip[at..])?;
    if !end.starts_with(&END) {
        return None;
    }
    let (mut kept, mut directory, mut count) = (Vec::new(), Vec::new(), 0u16);
    let mut entries = zip.get(number(end, 16, 4)?..)?;
    for _ in 0..number(end, 10, 2)? {
        let head = entries.get(..ENTRY_BYTES).filter(|head| head.starts_with(&ENTRY))?;
        let name_bytes = number(head, 28, 2)?;
        let whole = ENTRY_BYTES + name_bytes + number(head, 30, 2)? + number(head, 32, 2)?;
        let (entry, rest) = entries.split_at_checked(whole)?;
        entries = rest;
        let name = std::str::from_utf8(entry.get(ENTRY_BYTES..ENTRY_BYTES + name_bytes)?).ok()?;
        if !is_wanted(name) {
            continue;
        }
        let member = zip.get(number(head, 42, 4)?..)?;
        let own = member.get(..MEMBER_BYTES).filter(|own| own.starts_with(&MEMBER))?;
        let before = MEMBER_BYTES + number(own, 26, 2)? + number(own, 28, 2)?;
        let place = u32::try_from(kept.len()).ok()?;
        kept.extend(member.get(..before.checked_add(number(head, 20, 4)?)?)?);
        directory.extend(&entry[..42]);
        directory.extend(place.to_le_bytes());
        directory.extend(&entry[ENTRY_BYTES..]);
        count = count.checked_add(1)?;
    }
    let (begin, bytes) = (u32::try_from(kept.len()).ok()?, u32::try_from(directory.len()).ok()?);
    kept.extend(directory);
    kept.extend(END);
    kept.extend([0; 4]);
    kept.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    kept.extend([bytes.to_le_bytes(), begin.to_le_bytes()].concat());
    kept.extend([0; 2]);
    Some(kept)
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let mut number = [0; 8];
    number.get_mut(..length)?.copy_from_slice(bytes.get(at..at.checked_add(length)?)?);
    usize::try_from(u64::from_le_bytes(number)).ok()
}

#[cfg(test)]
mod tests {
    use super::part;

    /// `a` with the text "one", `b/c` with "two" and `d` with "three", stored; nobody looks at the sums.
    fn zip() -> Vec<u8> {
        let (mut members, mut directory) = (Vec::new(), Vec::new());
        for (name, text) in [("a", "one"), ("b/c", "two"), ("d", "three")] {
            // CRC-32 and the lengths, then those of name and extra field.
            let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 33, 0, 7, 7, 7, 7];
            common.extend((text.len() as u32).to_le_bytes().repeat(2));
            common.extend([name.len() as u8, 0, 0, 0]);
            directory.extend([b"PK\x01\x02\x14\0", &common[..]].concat());
            directory.extend([0; 10]);
            directory.extend((members.len() as u32).to_le_bytes());
            directory.extend(name.bytes());
            members.extend([b"PK\x03\x04", &common[..], name.as_bytes(), text.as_bytes()].concat());
        }
        let (begin, bytes) = (members.len() as u32, directory.len() as u32);
        members.extend(directory);
        members.extend(b"PK\x05\x06\0\0\0\0\x03\0\x03\0");
        members.extend([bytes.to_le_bytes(), begin.to_le_bytes()].concat());
        members.extend([0; 2]);
        members
    }

    #[test]
    fn all_of_it_is_the_same_and_a_part_lacks_what_was_left_out() {
        assert_eq!(part(&zip(), |_| true).unwrap(), zip());
        let less = part(&zip(), |name| name != "b/c").unwrap();
        let text = String::from_utf8_lossy(&less).into_owned();
        assert!(text.contains("one") && text.contains("three") && !text.contains("two"));
        assert!(!text.contains("b/c"));
        // What is left is a zip like any other, with its places mended.
        assert_eq!(part(&less, |_| true).unwrap(), less);
        let last = part(&less, |name| name == "d").unwrap();
        assert_eq!(part(&zip(), |name| name == "d").unwrap(), last);
        assert!(String::from_utf8_lossy(&last).contains("three"));
    }

    #[test]
    fn what_is_cut_or_no_zip_is_refused() {
        let whole = zip();
        for length in 0..whole.len() {
            assert_eq!(part(&whole[..length], |_| true), None, "{length}");
            assert_eq!(part(&whole[length + 1..], |_| true), None, "{length}");
        }
    }
}
