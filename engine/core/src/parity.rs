//! Parity shards: a Cauchy code over GF(2^8) in whole bytes, without `unsafe` or lookup in the inner loop.
//!
//! Any `data` of the `data + parity` shards of a block give back the others. Shards are columns of 1,024 symbols;
//! shorter ones are padded with zeros. The first parity shard is the plain XOR of the data, so that the usual loss,
//! one shard, costs one XOR of the block. `docs/wire.md` defines the code for other implementations.

use crate::wire::{SHARD_BYTES, SHARDS_MAX};

/// A shard at full length.
pub type Shard = [u8; SHARD_BYTES];

/// x^8 + x^4 + x^3 + x^2 + 1, whose root 2 generates the field (RFC 5510, section 8.1), without its highest term.
const POLYNOMIAL: u8 = 0x1d;
/// Powers of 2, twice over, and the logarithms of all symbols but 0.
const TABLES: ([u8; 510], [u8; 256]) = tables();
/// Row 0 of the Cauchy matrix: 128 + parity index and data index never meet.
const FIRST_ROW: u8 = 128;
const _: () = assert!(SHARDS_MAX <= FIRST_ROW as usize && SHARDS_MAX <= u64::BITS as usize);

static ZEROS: Shard = [0; SHARD_BYTES];

/// Why shards cannot be made or made good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParityError {
    /// A block has 1 to 62 shards, at least one of them data.
    #[error("no block has {data} data and {parity} parity shards")]
    Counts {
        /// Data shards.
        data: usize,
        /// Parity shards.
        parity: usize,
    },
    /// A shard has more than 1,024 bytes.
    #[error("a shard has {0} bytes")]
    Length(usize),
    /// Fewer shards are held than the block has data.
    #[error("{held} shards do not give back {data}")]
    TooFew {
        /// Shards held.
        held: usize,
        /// Data shards of the block.
        data: usize,
    },
}

/// Makes the parity shards of a block.
///
/// # Errors
/// [`ParityError::Counts`] without data or with more than 62 shards in all, [`ParityError::Length`] when a shard has
/// more than 1,024 bytes.
pub fn encode(data: &[&[u8]], parity: usize) -> Result<Vec<Shard>, ParityError> {
    check_counts(data.len(), parity)?;
    let padded = pad(data.iter().copied())?;
    let data = whole(data.iter().copied(), &padded);
    Ok((0..parity as u8).map(|row| sum((0..).map(|index| coefficient(row, index)), &data)).collect())
}

/// Returns the data shards that are missing, each with its index. Parity is used only as far as it is needed.
///
/// # Errors
/// As [`encode`], and [`ParityError::TooFew`] when fewer shards are held than the block has data.
pub fn recover(data: &[Option<&[u8]>], parity: &[Option<&[u8]>]) -> Result<Vec<(u8, Shard)>, ParityError> {
    check_counts(data.len(), parity.len())?;
    let numbered = |shards: &[Option<&[u8]>], held| -> Vec<u8> {
        (0..).zip(shards).filter(|(_, shard)| shard.is_some() == held).map(|(index, _)| index).collect()
    };
    let missing = numbered(data, false);
    let mut rows = numbered(parity, true);
    if rows.len() < missing.len() {
        let held = data.len() - missing.len() + rows.len();
        return Err(ParityError::TooFew { held, data: data.len() });
    }
    rows.truncate(missing.len());
    let indices = numbered(data, true);
    let present = || data.iter().flatten().copied();
    let used = || rows.iter().filter_map(|row| parity[usize::from(*row)]);
    let padded = pad(present().chain(used()))?;
    let shards = whole(present().chain(used()), &padded);
    let (present, used) = shards.split_at(indices.len());
    let remainders: Vec<Shard> = rows
        .iter()
        .zip(used)
        .map(|(row, parity)| {
            let sources: Vec<&Shard> = present.iter().chain([parity]).copied().collect();
            sum(indices.iter().map(|index| coefficient(*row, *index)).chain([1]), &sources)
        })
        .collect();
    let remainders: Vec<&Shard> = remainders.iter().collect();
    let inverse = invert(&rows, &missing);
    Ok(missing
        .iter()
        .zip(&inverse)
        .map(|(index, row)| (*index, sum(row.iter().copied(), &remainders)))
        .collect())
}

fn check_counts(data: usize, parity: usize) -> Result<(), ParityError> {
    if data == 0 || data > SHARDS_MAX || parity > SHARDS_MAX - data {
        return Err(ParityError::Counts { data, parity });
    }
    Ok(())
}

/// Copies the shards that are short, and fills them up with zeros.
fn pad<'a>(shards: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Shard>, ParityError> {
    let mut padded = Vec::new();
    for shard in shards.filter(|shard| shard.len() != SHARD_BYTES) {
        let mut copy = [0; SHARD_BYTES];
        copy.get_mut(..shard.len()).ok_or(ParityError::Length(shard.len()))?.copy_from_slice(shard);
        padded.push(copy);
    }
    Ok(padded)
}

/// Returns the shards at full length, the copies in the place of those that are short.
fn whole<'a>(shards: impl Iterator<Item = &'a [u8]>, padded: &'a [Shard]) -> Vec<&'a Shard> {
    let mut padded = padded.iter();
    shards.filter_map(|shard| shard.try_into().ok().or_else(|| padded.next())).collect()
}

/// Sums up at most 64 shards, each times its coefficient, by Horner's rule over the coefficients' bits: seven doublings
/// of the sum, whatever the number of shards, and an XOR for each bit that is set.
fn sum(coefficients: impl Iterator<Item = u8>, shards: &[&Shard]) -> Shard {
    let mut planes = [0_u64; 8];
    for (at, coefficient) in coefficients.take(shards.len()).enumerate() {
        for (bit, plane) in planes.iter_mut().enumerate() {
            *plane |= u64::from(coefficient >> bit & 1) << at;
        }
    }
    let mut sum = [0; SHARD_BYTES];
    for plane in planes.iter().rev().skip_while(|plane| **plane == 0) {
        double(&mut sum);
        let mut rest = *plane;
        while rest != 0 {
            add(&mut sum, [(); 4].map(|()| take(&mut rest, shards)));
        }
    }
    sum
}

/// Takes the shard of the lowest bit; zeros when there is none.
fn take<'a>(plane: &mut u64, shards: &[&'a Shard]) -> &'a Shard {
    let shard = shards.get(plane.trailing_zeros() as usize).copied().unwrap_or(&ZEROS);
    *plane &= plane.saturating_sub(1);
    shard
}

/// Four at once: one at a time, loading and storing the sum costs more than the shards.
fn add(sum: &mut Shard, [a, b, c, d]: [&Shard; 4]) {
    for (at, symbol) in sum.iter_mut().enumerate() {
        *symbol ^= a[at] ^ b[at] ^ c[at] ^ d[at];
    }
}

fn double(sum: &mut Shard) {
    // The arithmetic shift spreads the highest bit over the symbol: a mask without a branch.
    sum.iter_mut().for_each(|symbol| *symbol = *symbol << 1 ^ ((*symbol as i8 >> 7) as u8 & POLYNOMIAL));
}

/// Returns the coefficient of a data shard in a parity shard: a Cauchy matrix, each column divided by its first symbol,
/// which leaves every square part of it regular.
fn coefficient(row: u8, index: u8) -> u8 {
    divide(FIRST_ROW ^ index, (FIRST_ROW + row) ^ index)
}

/// Inverts the part of the matrix that maps the missing shards to the rows used, by Gauss and Jordan. Every leading
/// part of it is regular too, so no pivot is 0.
fn invert(rows: &[u8], missing: &[u8]) -> Vec<Vec<u8>> {
    let size = rows.len();
    let mut wide: Vec<Vec<u8>> = (rows.iter().enumerate())
        .map(|(at, row)| {
            let unit = (0..size).map(|column| u8::from(column == at));
            missing.iter().map(|index| coefficient(*row, *index)).chain(unit).collect()
        })
        .collect();
    for pivot in 0..size {
        let by = wide[pivot][pivot];
        wide[pivot].iter_mut().for_each(|symbol| *symbol = divide(*symbol, by));
        let pivot_row = wide[pivot].clone();
        for row in wide.iter_mut().enumerate().filter(|(at, _)| *at != pivot).map(|(_, row)| row) {
            let factor = row[pivot];
            row.iter_mut()
                .zip(&pivot_row)
                .for_each(|(symbol, of_pivot)| *symbol ^= multiply(factor, *of_pivot));
        }
    }
    wide.into_iter().map(|mut row| row.split_off(size)).collect()
}

fn multiply(left: u8, right: u8) -> u8 {
    if left == 0 || right == 0 {
        return 0;
    }
    let (powers, logs) = &TABLES;
    powers[usize::from(logs[usize::from(left)]) + usize::from(logs[usize::from(right)])]
}

/// Divides; `right` is not 0.
fn divide(left: u8, right: u8) -> u8 {
    if left == 0 {
        return 0;
    }
    let (powers, logs) = &TABLES;
    powers[usize::from(logs[usize::from(left)]) + 255 - usize::from(logs[usize::from(right)])]
}

const fn tables() -> ([u8; 510], [u8; 256]) {
    let (mut powers, mut logs) = ([0; 510], [0; 256]);
    let (mut power, mut at) = (1_u8, 0);
    while at < 255 {
        powers[at] = power;
        powers[at + 255] = power;
        logs[power as usize] = at as u8;
        power = power << 1 ^ ((power as i8 >> 7) as u8 & POLYNOMIAL);
        at += 1;
    }
    (powers, logs)
}
